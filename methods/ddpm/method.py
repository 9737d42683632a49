"""Denoising diffusion by partial noising (Ho et al. 2020; as used for anomalies by Wyatt et al. 2022).

A network trained to remove noise from healthy images restores what the noise has hidden as healthy tissue.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch

from uadbench.core.catalog import METHODS
from uadbench.core.types import ImageBatch, ImageSpec, Prediction
from uadbench.diffusion.noises import Coarse, Gaussian, Noise, Pyramid
from uadbench.diffusion.partial import PartialDiffusion, reconstruct
from uadbench.methods.ddpm.config import DdpmConfig
from uadbench.nn.score import residual_map, residual_sign, top_mean


@METHODS.register("ddpm")
class Ddpm(PartialDiffusion[DdpmConfig]):
    """Anomaly map |x - x_hat| of a partial diffusion."""

    name: ClassVar[str] = "ddpm"
    version: ClassVar[str] = "2"
    config_type: ClassVar[type[DdpmConfig]] = DdpmConfig

    def __init__(self, config: DdpmConfig, spec: ImageSpec) -> None:
        super().__init__(config, spec)
        self.polarity = residual_sign(spec, signed=config.signed)

    def make_noise(self, spec: ImageSpec) -> Noise:
        """Returns the noise of training and inference."""
        if self.config.noise == "coarse":
            return Coarse(self.config.coarse_cells)
        return Pyramid(self.config.pyramid_discount) if self.config.noise == "pyramid" else Gaussian()

    @torch.no_grad()
    def predict(self, images: ImageBatch, noise: Sequence[torch.Generator]) -> Prediction:
        """Scores images by |x - x_hat|; channels are averaged."""
        self.ready(images)
        restored = reconstruct(self.denoiser, self.schedule, self.noise, self.config, images, noise)
        anomaly_map = residual_map(images.image, restored, self.polarity)
        return Prediction(anomaly_map, top_mean(anomaly_map, images.body), restored)
