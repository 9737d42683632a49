"""Denoising diffusion by partial noising (Ho et al. 2020; as used for anomalies by Wyatt et al. 2022).

A network that has learnt to take noise off healthy images restores what the noise has hidden as it looks in health.
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
from uadbench.diffusion.noises import Coarse, Gaussian, Noise, Pyramid
from uadbench.diffusion.partial import reconstruct
from uadbench.diffusion.schedules import Schedule
from uadbench.methods.ddpm.config import DdpmConfig
from uadbench.nn.score import top_mean


@METHODS.register("ddpm")
class Ddpm(nn.Module):
    """Anomaly map |x - x_hat| of a partial diffusion."""

    name: ClassVar[str] = "ddpm"
    version: ClassVar[str] = "1"
    supervision: ClassVar[Supervision] = Supervision.HEALTHY
    config_type: ClassVar[type[DdpmConfig]] = DdpmConfig

    def __init__(self, config: DdpmConfig, spec: ImageSpec) -> None:
        super().__init__()
        self.config = config
        self.schedule = Schedule.make(config.schedule, config.timesteps)
        self.schedule.check(config.t)
        self.noise = make_noise(config)
        self.denoiser = Denoiser(config, spec)

    @classmethod
    def build(cls, config: DdpmConfig, spec: ImageSpec) -> Self:
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
        """Scores images by |x - x_hat|; channels are averaged."""
        self.eval()
        self.denoiser.check(images)
        self.denoiser.arrange()
        restored = reconstruct(self.denoiser, self.schedule, self.noise, self.config, images, noise)
        anomaly_map = (images.image - restored).abs().mean(1, keepdim=True)
        return Prediction(anomaly_map, top_mean(anomaly_map, images.body), restored)


def make_noise(config: DdpmConfig) -> Noise:
    """Returns the noise of training and inference."""
    if config.noise == "coarse":
        return Coarse(config.coarse_cells)
    return Pyramid(config.pyramid_discount) if config.noise == "pyramid" else Gaussian()
