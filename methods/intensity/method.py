"""The intensity of a pixel (docs/protocol.md, trivial baselines)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Self

import torch
from torch import Tensor, nn

from uadbench.core.catalog import METHODS
from uadbench.core.method import FitContext
from uadbench.core.roles import Supervision
from uadbench.core.types import Batches, ImageBatch, ImageSpec, Prediction
from uadbench.methods.intensity.config import IntensityConfig
from uadbench.nn.score import top_mean
from uadbench.nn.statistics import body_median


@METHODS.register("intensity")
class Intensity(nn.Module):
    """Intensity with the sign of the polarity prior; without a prior, the distance from the healthy median."""

    name: ClassVar[str] = "intensity"
    version: ClassVar[str] = "1"
    supervision: ClassVar[Supervision] = Supervision.NONE
    config_type: ClassVar[type[IntensityConfig]] = IntensityConfig

    median: Tensor

    def __init__(self, spec: ImageSpec) -> None:
        super().__init__()
        self.polarity = spec.polarity
        self.register_buffer("median", torch.zeros(spec.channels))

    @classmethod
    def build(cls, config: IntensityConfig, spec: ImageSpec) -> Self:
        """Creates the baseline for images of any shape."""
        del config
        return cls(spec)

    def fit(self, train: Batches, calib: Batches, run: FitContext, labelled: Batches | None = None) -> None:
        """Learns the median intensity of healthy bodies; with a polarity nothing is learnt and no image is needed.

        Raises:
            DataError: If there is no polarity and no training image.
        """
        if self.polarity == 0:
            self.median.copy_(body_median(train))
        self.to(run.device)

    def predict(self, images: ImageBatch, noise: Sequence[torch.Generator]) -> Prediction:
        """Scores images by intensity; channels are averaged."""
        unsigned = (images.image - self.median[:, None, None]).abs()
        signed = self.polarity * images.image if self.polarity else unsigned
        anomaly_map = signed.mean(1, keepdim=True)
        return Prediction(anomaly_map, top_mean(anomaly_map, images.body))
