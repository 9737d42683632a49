"""The rank of a pixel's intensity within the body (docs/protocol.md, trivial baselines)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Self

import torch
from torch import Tensor, nn

from uadbench.core.catalog import METHODS
from uadbench.core.method import FitContext
from uadbench.core.roles import Supervision
from uadbench.core.types import Batches, ImageBatch, ImageSpec, Prediction
from uadbench.methods.equalized.config import EqualizedConfig
from uadbench.nn.score import top_mean


def body_ranks(plane: Tensor, inside: Tensor) -> Tensor:
    """Returns for every pixel the share of darker body pixels; equal ones count one half.

    This is the image after histogram equalisation over the body, in [0, 1].

    Args:
        plane: Intensities, (h, w).
        inside: True inside the body, (h, w).
    """
    reference = plane[inside].sort().values
    if reference.numel() == 0:
        return torch.zeros_like(plane)
    flat = plane.flatten()
    darker = torch.searchsorted(reference, flat, right=False)
    not_brighter = torch.searchsorted(reference, flat, right=True)
    return ((darker + not_brighter).float() / (2 * reference.numel())).view_as(plane)


@METHODS.register("equalized")
class Equalized(nn.Module):
    """Histogram-equalised intensity with the sign of the polarity prior; without a prior, distance from the middle."""

    name: ClassVar[str] = "equalized"
    version: ClassVar[str] = "1"
    supervision: ClassVar[Supervision] = Supervision.NONE
    config_type: ClassVar[type[EqualizedConfig]] = EqualizedConfig

    def __init__(self, spec: ImageSpec) -> None:
        super().__init__()
        self.polarity = spec.polarity

    @classmethod
    def build(cls, config: EqualizedConfig, spec: ImageSpec) -> Self:
        """Creates the baseline for images of any shape."""
        del config
        return cls(spec)

    def fit(self, train: Batches, calib: Batches, run: FitContext, labelled: Batches | None = None) -> None:
        """Learns nothing."""

    def predict(self, images: ImageBatch, noise: Sequence[torch.Generator]) -> Prediction:
        """Scores images by rank; channels are averaged."""
        ranks = torch.stack(
            [
                torch.stack([body_ranks(plane, body[0]) for plane in image])
                for image, body in zip(images.image, images.body, strict=True)
            ]
        )
        signed = self.polarity * ranks if self.polarity else (ranks - 0.5).abs()
        anomaly_map = signed.mean(1, keepdim=True)
        return Prediction(anomaly_map, top_mean(anomaly_map, images.body))
