"""A convolutional variational autoencoder and its residual."""

from uadbench.methods.vae.method import VAE

__all__ = ["VAE"]
