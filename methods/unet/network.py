"""A U-Net decoder on an encoder of timm."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from uadbench.core.types import ImageSpec
from uadbench.nn.backbone import Backbone
from uadbench.nn.blocks import ResBlock


class EncoderUNet(nn.Module):
    """Maps images (b, c, h, w) to logits (b, 1, h, w), of any size from the encoder's stride on.

    Args:
        encoder: timm's name.
        widths: Channels of the decoder, finest first; as many encoder maps are used, of strides 2, 4, 8, ...
        spec: Shape of the images.
    """

    def __init__(self, encoder: str, widths: Sequence[int], spec: ImageSpec) -> None:
        super().__init__()
        self.encoder = Backbone(encoder, range(len(widths)), spec)
        channels = self.encoder.channels
        self.deepest = ResBlock(channels[-1], widths[-1], 0)
        self.rises = nn.ModuleList(
            ResBlock(deep + skip, here, 0)
            for deep, skip, here in zip(widths[:0:-1], channels[-2::-1], widths[-2::-1], strict=True)
        )
        self.tail = nn.Conv2d(widths[0], 1, 3, padding=1)

    def forward(self, image: Tensor) -> Tensor:
        """Returns logits."""
        *skips, x = self.encoder(image)
        x = self.deepest(x)
        for rise, skip in zip(self.rises, reversed(skips), strict=True):
            x = rise(torch.cat([functional.interpolate(x, size=skip.shape[-2:], mode="nearest"), skip], dim=1))
        return self.tail(functional.interpolate(x, size=image.shape[-2:], mode="bilinear", align_corners=False))
