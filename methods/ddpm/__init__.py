"""Denoising diffusion with Gaussian, coarse or pyramid noise."""

from uadbench.methods.ddpm.method import Ddpm

__all__ = ["Ddpm"]
