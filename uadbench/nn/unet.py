"""U-Nets: a plain one for small budgets and the one of guided diffusion (Dhariwal & Nichol 2021)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from uadbench.nn.blocks import Attention, ResBlock, TimeEmbedding, ZeroConv2d
from uadbench.nn.group_norm import group_norm


class PlainUNet(nn.Module):
    """One residual block per level and side, no attention.

    Args:
        inputs: Channels in.
        outputs: Channels out.
        widths: Channels of each level, finest first.
        time: Whether the network has a diffusion step as input.
    """

    def __init__(self, inputs: int, outputs: int, widths: Sequence[int], *, time: bool = True) -> None:
        super().__init__()
        self.stride = 2 ** (len(widths) - 1)
        width = 4 * widths[0] if time else 0
        self.embed = TimeEmbedding(widths[0], width) if time else None
        self.head = nn.Conv2d(inputs, widths[0], 3, padding=1)
        self.down = nn.ModuleList(
            ResBlock(before, after, width) for before, after in zip([widths[0], *widths[:-1]], widths, strict=True)
        )
        self.middle = ResBlock(widths[-1], widths[-1], width)
        self.up = nn.ModuleList(
            ResBlock(deep + here, here, width)
            for deep, here in zip([widths[-1], *widths[:0:-1]], widths[::-1], strict=True)
        )
        self.tail = nn.Sequential(group_norm(widths[0]), nn.SiLU(), ZeroConv2d(widths[0], outputs, 3, padding=1))

    def forward(self, x: Tensor, t: Tensor | None = None) -> Tensor:
        """Maps (b, inputs, h, w) and steps (b,) to (b, outputs, h, w); h and w are multiples of ``stride``."""
        embedding = self.embed(t) if self.embed is not None and t is not None else None
        h = self.head(x)
        skips: list[Tensor] = []
        for level, block in enumerate(self.down):
            h = block(functional.avg_pool2d(h, 2) if level else h, embedding)
            skips.append(h)
        h = self.middle(h, embedding)
        for level, block in enumerate(self.up):
            if level:
                h = functional.interpolate(h, scale_factor=2.0, mode="nearest")
            h = block(torch.cat([h, skips.pop()], dim=1), embedding)
        return self.tail(h)


class GuidedUNet(nn.Module):
    """The U-Net of guided diffusion, re-implemented from its description.

    Args:
        inputs: Channels in.
        outputs: Channels out.
        size: Image side in pixels, which determines the levels with attention.
        base: Channels of the finest level.
        multipliers: Channels of each level as multiples of ``base``, finest first.
        blocks: Residual blocks per level.
        attention: Resolutions in pixels with attention.
        dropout: Dropout inside residual blocks.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        size: int,
        *,
        base: int = 128,
        multipliers: Sequence[int] = (1, 1, 2, 3, 4),
        blocks: int = 2,
        attention: Sequence[int] = (16, 8),
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.stride = 2 ** (len(multipliers) - 1)
        width = 4 * base
        self.embed = TimeEmbedding(base, width)
        self.head = nn.Conv2d(inputs, base * multipliers[0], 3, padding=1)
        channels = base * multipliers[0]
        widths = [channels]
        self.down = nn.ModuleList()
        last = len(multipliers) - 1
        for level, multiplier in enumerate(multipliers):
            attends = size >> level in attention
            for _ in range(blocks):
                self.down.append(_Stage(channels, base * multiplier, width, attends, dropout))
                channels = base * multiplier
                widths.append(channels)
            if level < last:
                self.down.append(ResBlock(channels, channels, width, "down", dropout))
                widths.append(channels)
        self.middle = nn.ModuleList(
            [_Stage(channels, channels, width, True, dropout), ResBlock(channels, channels, width, None, dropout)]
        )
        self.up = nn.ModuleList()
        for level, multiplier in reversed(list(enumerate(multipliers))):
            attends = size >> level in attention
            for block in range(blocks + 1):
                rises = level > 0 and block == blocks
                self.up.append(_Stage(channels + widths.pop(), base * multiplier, width, attends, dropout, rises=rises))
                channels = base * multiplier
        self.tail = nn.Sequential(group_norm(channels), nn.SiLU(), ZeroConv2d(channels, outputs, 3, padding=1))

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        """Maps (b, inputs, h, w) and steps (b,) to (b, outputs, h, w)."""
        embedding = self.embed(t)
        h = self.head(x)
        skips = [h]
        for block in self.down:
            h = block(h, embedding)
            skips.append(h)
        for block in self.middle:
            h = block(h, embedding)
        for block in self.up:
            h = block(torch.cat([h, skips.pop()], dim=1), embedding)
        return self.tail(h)


class _Stage(nn.Module):
    """A residual block, optionally followed by attention and upsampling."""

    def __init__(
        self, inputs: int, outputs: int, time: int, attends: bool, dropout: float, *, rises: bool = False
    ) -> None:
        super().__init__()
        self.block = ResBlock(inputs, outputs, time, None, dropout)
        self.attention = Attention(outputs) if attends else nn.Identity()
        self.rise = ResBlock(outputs, outputs, time, "up", dropout) if rises else None

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        x = self.attention(self.block(x, embedding))
        return x if self.rise is None else self.rise(x, embedding)
