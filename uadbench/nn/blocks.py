"""Building blocks of the U-Nets: residual block with time embedding, self-attention, sinusoidal embedding."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from uadbench.nn.group_norm import group_norm

Resample = Literal["up", "down"] | None


class ZeroConv2d(nn.Conv2d):
    """A convolution initialised to zero, so that its residual block starts as the identity."""

    def reset_parameters(self) -> None:
        """Sets weights and bias to zero."""
        nn.init.zeros_(self.weight)
        if self.bias is not None:
            nn.init.zeros_(self.bias)


class TimeEmbedding(nn.Module):
    """Sinusoids of the diffusion step followed by two linear layers.

    Args:
        base: Number of sinusoids (even).
        width: Width of the embedding.
    """

    def __init__(self, base: int, width: int) -> None:
        super().__init__()
        self.base = base
        self.layers = nn.Sequential(nn.Linear(base, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, t: Tensor) -> Tensor:
        """Embeds steps of shape (b,) as (b, width)."""
        half = self.base // 2
        rates = torch.exp(-math.log(10000) * torch.arange(half, device=t.device, dtype=torch.float32) / half)
        angles = t.float()[:, None] * rates
        return self.layers(torch.cat([angles.cos(), angles.sin()], dim=1))


class ResBlock(nn.Module):
    """Residual block: two normalised 3x3 convolutions, with the time embedding added in between.

    Args:
        inputs: Channels in.
        outputs: Channels out.
        time: Width of the time embedding; 0 for none.
        resample: Average-pool ("down") or repeat ("up") by 2 inside the block.
        dropout: Dropout before the second convolution.
    """

    def __init__(
        self, inputs: int, outputs: int, time: int = 0, resample: Resample = None, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.resample: Resample = resample
        self.norm_in = group_norm(inputs)
        self.conv_in = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.time = nn.Linear(time, outputs) if time else None
        self.norm_out = group_norm(outputs)
        self.dropout = nn.Dropout(dropout)
        self.conv_out = ZeroConv2d(outputs, outputs, 3, padding=1)
        self.skip = nn.Identity() if inputs == outputs else nn.Conv2d(inputs, outputs, 1)

    def forward(self, x: Tensor, embedding: Tensor | None = None) -> Tensor:
        """Maps (b, inputs, h, w), and the time embedding (b, time), to (b, outputs, h', w')."""
        h = functional.silu(self.norm_in(x))
        h, x = self._resample(h), self._resample(x)
        h = self.conv_in(h)
        if self.time is not None and embedding is not None:
            h = h + self.time(functional.silu(embedding))[:, :, None, None]
        h = self.conv_out(self.dropout(functional.silu(self.norm_out(h))))
        return self.skip(x) + h

    def _resample(self, x: Tensor) -> Tensor:
        if self.resample == "down":
            return functional.avg_pool2d(x, 2)
        if self.resample == "up":
            return functional.interpolate(x, scale_factor=2.0, mode="nearest")
        return x


class Attention(nn.Module):
    """Residual self-attention over all positions, with 64 channels per head.

    Args:
        channels: Channels, a multiple of ``head``.
        head: Channels per head.
    """

    def __init__(self, channels: int, head: int = 64) -> None:
        super().__init__()
        self.heads = max(1, channels // head)
        self.norm = group_norm(channels)
        self.qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.out = ZeroConv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (b, c, h, w) to the same shape."""
        b, c, h, w = x.shape
        qkv = self.qkv(self.norm(x)).reshape(b, 3, self.heads, c // self.heads, h * w).transpose(3, 4)
        mixed = functional.scaled_dot_product_attention(qkv[:, 0], qkv[:, 1], qkv[:, 2])
        return x + self.out(mixed.transpose(2, 3).reshape(b, c, h, w))
