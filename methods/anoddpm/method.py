"""AnoDDPM: partial diffusion with simplex noise (Wyatt et al., CVPR workshops 2022).

Gaussian noise hides only fine detail; simplex noise has power at all scales, so that it also hides large lesions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch

from uadbench.core.catalog import METHODS
from uadbench.core.types import ImageBatch, ImageSpec, Prediction
from uadbench.diffusion.noises import Noise
from uadbench.diffusion.partial import PartialDiffusion, reconstruct
from uadbench.diffusion.simplex import Simplex
from uadbench.methods.anoddpm.config import AnoDdpmConfig
from uadbench.nn.score import residual_map, residual_sign, top_mean


@METHODS.register("anoddpm")
class AnoDdpm(PartialDiffusion[AnoDdpmConfig]):
    """Anomaly map (x - x_hat)^2 of a partial diffusion with simplex noise."""

    name: ClassVar[str] = "anoddpm"
    version: ClassVar[str] = "2"
    config_type: ClassVar[type[AnoDdpmConfig]] = AnoDdpmConfig

    def __init__(self, config: AnoDdpmConfig, spec: ImageSpec) -> None:
        super().__init__(config, spec)
        self.polarity = residual_sign(spec, signed=config.signed)

    def make_noise(self, spec: ImageSpec) -> Noise:
        """Returns simplex noise, with lengths scaled to the image."""
        return Simplex.scaled(spec, self.config.frequency, self.config.octaves, self.config.persistence)

    @torch.no_grad()
    def predict(self, images: ImageBatch, noise: Sequence[torch.Generator]) -> Prediction:
        """Scores images by (x - x_hat)^2; channels are averaged."""
        self.ready(images)
        restored = reconstruct(self.denoiser, self.schedule, self.noise, self.config, images, noise)
        power = 2 if self.config.residual == "squared" else 1
        anomaly_map = residual_map(images.image, restored, self.polarity, power)
        return Prediction(anomaly_map, top_mean(anomaly_map, images.body), restored)
