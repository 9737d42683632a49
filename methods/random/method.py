"""Random scores (docs/protocol.md, trivial baselines)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Self

import torch
from torch import nn

from uadbench.core.catalog import METHODS
from uadbench.core.method import FitContext
from uadbench.core.roles import Supervision
from uadbench.core.types import Batches, ImageBatch, ImageSpec, Prediction
from uadbench.methods.random.config import RandomConfig
from uadbench.nn.score import top_mean


@METHODS.register("random")
class Random(nn.Module):
    """Independent uniform numbers in [0, 1), from the generator of each image."""

    name: ClassVar[str] = "random"
    version: ClassVar[str] = "1"
    supervision: ClassVar[Supervision] = Supervision.NONE
    config_type: ClassVar[type[RandomConfig]] = RandomConfig

    @classmethod
    def build(cls, config: RandomConfig, spec: ImageSpec) -> Self:
        """Creates the baseline for images of any shape."""
        del config, spec
        return cls()

    def fit(self, train: Batches, calib: Batches, run: FitContext, labelled: Batches | None = None) -> None:
        """Learns nothing."""

    def predict(self, images: ImageBatch, noise: Sequence[torch.Generator]) -> Prediction:
        """Returns noise."""
        height, width = images.image.shape[-2:]
        planes = [torch.rand(1, height, width, generator=generator) for generator in noise]
        anomaly_map = torch.stack(planes).to(images.image.device)
        return Prediction(anomaly_map, top_mean(anomaly_map, images.body))
