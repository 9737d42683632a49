"""Builds the U-Net of the diffusion methods from config values."""

from __future__ import annotations

from uadbench.core.errors import UserError
from uadbench.core.types import ImageSpec
from uadbench.nn.config import UNetConfig
from uadbench.nn.unet import GuidedUNet, PlainUNet


def make_unet(config: UNetConfig, spec: ImageSpec, *, time: bool = True) -> PlainUNet | GuidedUNet:
    """Creates an untrained U-Net with image channels as input and output.

    Args:
        config: Its settings.
        spec: Shape of the images.
        time: Whether it has a diffusion step as input (always true for the guided network).

    Raises:
        UserError: If the image does not suit the network's stride.
    """
    levels = len(config.widths if config.network == "plain" else config.multipliers)
    stride = 2 ** (levels - 1)
    if spec.height % stride or spec.width % stride or min(spec.height, spec.width) < 2 * stride:
        raise UserError(
            f"Images of {spec.height} x {spec.width} do not suit a U-Net of {levels} levels.",
            f"Both sides must be multiples of {stride}, at least {2 * stride}: change image_size or the levels.",
        )
    if config.network == "plain":
        return PlainUNet(spec.channels, spec.channels, config.widths, time=time)
    return GuidedUNet(
        spec.channels,
        spec.channels,
        min(spec.height, spec.width),
        base=config.base,
        multipliers=config.multipliers,
        blocks=config.blocks,
        attention=config.attention,
        dropout=config.dropout,
    )
