"""The choice of U-Net that the diffusion methods share: config values in, network out."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from uadbench.core.config import MethodConfig
from uadbench.core.errors import UserError
from uadbench.core.types import ImageSpec
from uadbench.nn.unet import GuidedUNet, PlainUNet


class UNetConfig(MethodConfig):
    """Settings of the network.

    Attributes:
        network: ``plain`` (no attention, for small budgets) or ``guided`` (that of guided diffusion).
        widths: Channels of the plain network's levels, finest first; its stride is 2 ** (levels - 1).
        base: Channels of the guided network's finest level.
        multipliers: Channels of its levels as multiples of ``base``.
        blocks: Its residual blocks a level.
        attention: Sides in pixels of the feature maps that get attention.
        dropout: Its dropout.
    """

    network: Literal["plain", "guided"] = "plain"
    widths: tuple[int, ...] = Field(default=(32, 64, 96, 128), min_length=1, max_length=7)
    base: int = Field(default=128, ge=4, le=512)
    multipliers: tuple[int, ...] = Field(default=(1, 1, 2, 3, 4), min_length=1, max_length=7)
    blocks: int = Field(default=2, ge=1, le=8)
    attention: tuple[int, ...] = (16, 8)
    dropout: float = Field(default=0.0, ge=0, lt=1)


def make_unet(config: UNetConfig, spec: ImageSpec, *, time: bool = True) -> PlainUNet | GuidedUNet:
    """Makes an untrained U-Net from image channels to image channels.

    Args:
        config: Its settings.
        spec: Shape of the images.
        time: Whether it takes a diffusion step (the guided network always does).

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
