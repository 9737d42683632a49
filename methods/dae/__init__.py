"""Denoising autoencoder with coarse noise."""

from uadbench.methods.dae.method import Dae

__all__ = ["Dae"]
