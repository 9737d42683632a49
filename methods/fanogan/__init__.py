"""f-AnoGAN: a generative adversarial network of healthy images and an encoder into it."""

from uadbench.methods.fanogan.method import FAnoGAN

__all__ = ["FAnoGAN"]
