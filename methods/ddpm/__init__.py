"""Denoising diffusion with Gaussian, coarse or pyramid noise."""
