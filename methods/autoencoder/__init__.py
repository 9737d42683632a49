"""A convolutional autoencoder and its residual."""

from uadbench.methods.autoencoder.method import Autoencoder

__all__ = ["Autoencoder"]
