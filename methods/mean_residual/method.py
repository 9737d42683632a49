"""The distance from the mean training image (docs/protocol.md, trivial baselines)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Self

import torch
from torch import Tensor, nn

from uadbench.core.catalog import METHODS
from uadbench.core.method import FitContext
from uadbench.core.roles import Supervision
from uadbench.core.types import Batches, ImageBatch, ImageSpec, Prediction
from uadbench.methods.mean_residual.config import MeanResidualConfig
from uadbench.nn.score import residual_map, residual_sign, top_mean
from uadbench.nn.statistics import mean_image


@METHODS.register("mean_residual")
class MeanResidual(nn.Module):
    """|x - mu|: a reconstruction method whose reconstruction is the same for every image."""

    name: ClassVar[str] = "mean_residual"
    version: ClassVar[str] = "2"
    supervision: ClassVar[Supervision] = Supervision.HEALTHY
    config_type: ClassVar[type[MeanResidualConfig]] = MeanResidualConfig

    mean: Tensor

    def __init__(self, config: MeanResidualConfig, spec: ImageSpec) -> None:
        super().__init__()
        self.spec = spec
        self.polarity = residual_sign(spec, signed=config.signed)
        self.register_buffer("mean", torch.zeros(spec.channels, spec.height, spec.width))

    @classmethod
    def build(cls, config: MeanResidualConfig, spec: ImageSpec) -> Self:
        """Creates the baseline for images of any shape."""
        return cls(config, spec)

    def fit(self, train: Batches, calib: Batches, run: FitContext, labelled: Batches | None = None) -> None:
        """Learns the mean image in one pass.

        Raises:
            DataError: If there is no training image.
        """
        self.mean.copy_(mean_image(train))
        self.to(run.device)

    def predict(self, images: ImageBatch, noise: Sequence[torch.Generator]) -> Prediction:
        """Scores images by |x - mu|; channels are averaged."""
        self.spec.check(images)
        anomaly_map = residual_map(images.image, self.mean, self.polarity)
        reconstruction = self.mean.expand_as(images.image).clamp(-1, 1)
        return Prediction(anomaly_map, top_mean(anomaly_map, images.body), reconstruction)
