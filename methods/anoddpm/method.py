"""AnoDDPM: partial diffusion with simplex noise (Wyatt et al., CVPR workshops 2022).

Gaussian noise hides fine detail only; simplex noise has power at all scales, so that large lesions are hidden too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Self

import torch
from torch import nn

from uadbench.core.catalog import METHODS
from uadbench.core.method import FitContext
from uadbench.core.roles import Supervision
from uadbench.core.types import Batches, ImageBatch, ImageSpec, Prediction
from uadbench.diffusion.epsilon import Denoiser, train_epsilon
from uadbench.diffusion.partial import reconstruct
from uadbench.diffusion.schedules import Schedule
from uadbench.diffusion.simplex import Simplex
from uadbench.methods.anoddpm.config import AnoDdpmConfig
from uadbench.nn.score import top_mean


@METHODS.register("anoddpm")
class AnoDdpm(nn.Module):
    """Anomaly map (x - x_hat)^2 of a partial diffusion with simplex noise."""

    name: ClassVar[str] = "anoddpm"
    version: ClassVar[str] = "1"
    supervision: ClassVar[Supervision] = Supervision.HEALTHY
    config_type: ClassVar[type[AnoDdpmConfig]] = AnoDdpmConfig

    def __init__(self, config: AnoDdpmConfig, spec: ImageSpec) -> None:
        super().__init__()
        self.config = config
        self.schedule = Schedule.make(config.schedule, config.timesteps)
        self.schedule.check(config.t)
        self.noise = Simplex.scaled(spec, config.frequency, config.octaves, config.persistence)
        self.denoiser = Denoiser(config, spec)

    @classmethod
    def build(cls, config: AnoDdpmConfig, spec: ImageSpec) -> Self:
        """Makes an untrained model.

        Raises:
            UserError: If the image does not suit the network, or t the schedule.
        """
        return cls(config, spec).eval()

    def fit(self, train: Batches, calib: Batches, run: FitContext, labelled: Batches | None = None) -> None:
        """Learns to predict the noise at every step of the schedule.

        Raises:
            DataError: If there is no training image.
            Diverged: If the loss is no longer finite.
        """
        train_epsilon(self.denoiser, self.noise, self.schedule, self.config, train, run)

    @torch.no_grad()
    def predict(self, images: ImageBatch, noise: Sequence[torch.Generator]) -> Prediction:
        """Scores images by (x - x_hat)^2; channels are averaged."""
        self.eval()
        self.denoiser.check(images)
        self.denoiser.arrange()
        restored = reconstruct(self.denoiser, self.schedule, self.noise, self.config, images, noise)
        difference = (images.image - restored).abs()
        anomaly_map = (difference.square() if self.config.residual == "squared" else difference).mean(1, keepdim=True)
        return Prediction(anomaly_map, top_mean(anomaly_map, images.body), restored)
