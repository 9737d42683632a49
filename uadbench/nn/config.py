"""Settings of networks and their training, without importing torch, so that errors are reported quickly."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from uadbench.core.config import MethodConfig

ATTENTION = (16, 8)
Schedule = Literal["constant", "linear", "cosine"]
Width = Annotated[int, Field(ge=1, le=4096)]
Multiple = Annotated[int, Field(ge=1, le=64)]
Side = Annotated[int, Field(ge=1, le=1024)]


class UNetConfig(MethodConfig):
    """Settings of the network.

    Attributes:
        network: ``plain`` (no attention, for small budgets) or ``guided`` (the U-Net of guided diffusion).
        widths: Channels of the plain network's levels, finest first; its stride is 2 ** (levels - 1).
        base: Channels of the guided network's finest level.
        multipliers: Channels of its levels as multiples of ``base``.
        blocks: Its residual blocks per level.
        attention: Sides in pixels of the feature maps with attention.
        dropout: Its dropout.
    """

    network: Literal["plain", "guided"] = "plain"
    widths: tuple[Width, ...] = Field(default=(32, 64, 96, 128), min_length=1, max_length=7)
    base: int = Field(default=128, ge=4, le=512)
    multipliers: tuple[Multiple, ...] = Field(default=(1, 1, 2, 3, 4), min_length=1, max_length=7)
    blocks: int = Field(default=2, ge=1, le=8)
    attention: tuple[Side, ...] = Field(default=ATTENTION, max_length=7)
    dropout: float = Field(default=0.0, ge=0, lt=1)

    @model_validator(mode="after")
    def _attention_is_met(self) -> Self:
        """Refuses an attention side that no level has, which would silently have no effect."""
        levels = len(self.widths if self.network == "plain" else self.multipliers)
        sides = [self.image_size >> level for level in range(levels)]
        if self.attention != ATTENTION and (strange := [side for side in self.attention if side not in sides]):
            raise ValueError(f"attention at {strange[0]} pixels, but the levels have {', '.join(map(str, sides))}")
        return self
