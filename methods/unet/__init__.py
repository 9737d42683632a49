"""A supervised U-Net: the reference that learns from lesion masks."""

from uadbench.methods.unet.method import UNet

__all__ = ["UNet"]
