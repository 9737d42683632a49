"""Where the training images vary: one fixed map for every image (docs/protocol.md, trivial baselines)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Self

import torch
from torch import Tensor, nn

from uadbench.core.catalog import METHODS
from uadbench.core.method import FitContext
from uadbench.core.roles import Supervision
from uadbench.core.types import Batches, ImageBatch, ImageSpec, Prediction
from uadbench.methods.position.config import PositionConfig
from uadbench.nn.score import top_mean
from uadbench.nn.statistics import mean_deviation, mean_image


@METHODS.register("position")
class Position(nn.Module):
    """The mean of |x - mu| over training: the score of a detector that ignores the image."""

    name: ClassVar[str] = "position"
    version: ClassVar[str] = "1"
    supervision: ClassVar[Supervision] = Supervision.HEALTHY
    config_type: ClassVar[type[PositionConfig]] = PositionConfig

    deviation: Tensor

    def __init__(self, spec: ImageSpec) -> None:
        super().__init__()
        self.spec = spec
        self.register_buffer("deviation", torch.zeros(1, spec.height, spec.width))

    @classmethod
    def build(cls, config: PositionConfig, spec: ImageSpec) -> Self:
        """Creates the baseline for images of any shape."""
        del config
        return cls(spec)

    def fit(self, train: Batches, calib: Batches, run: FitContext, labelled: Batches | None = None) -> None:
        """Learns the map in two passes over the training images.

        Raises:
            DataError: If there is no training image.
        """
        self.deviation.copy_(mean_deviation(train, mean_image(train)))
        self.to(run.device)

    def predict(self, images: ImageBatch, noise: Sequence[torch.Generator]) -> Prediction:
        """Returns the same map for every image."""
        self.spec.check(images)
        anomaly_map = self.deviation.expand(len(images), -1, -1, -1).clone()
        return Prediction(anomaly_map, top_mean(anomaly_map, images.body))
