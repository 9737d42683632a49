"""AutoDDPM: mask, stitch and re-sample (Bercea et al., ICML workshop on interpretable ML in healthcare 2023).

A first reconstruction from strong noise selects suspicious pixels; only these are re-sampled, from weak noise, so
that healthy tissue is preserved.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from uadbench.core.catalog import METHODS
from uadbench.core.types import ImageBatch, ImageSpec, Prediction
from uadbench.diffusion.noises import Gaussian, Noise
from uadbench.diffusion.partial import PartialDiffusion, reconstruct
from uadbench.methods.autoddpm.config import AutoDdpmConfig
from uadbench.methods.autoddpm.repair import dilated_mask, inpaint, suspicion
from uadbench.nn.score import residual_map, residual_sign, top_mean


@METHODS.register("autoddpm")
class AutoDdpm(PartialDiffusion[AutoDdpmConfig]):
    """Anomaly map |x - x_inpainted| times the anomaly map of the first reconstruction."""

    name: ClassVar[str] = "autoddpm"
    version: ClassVar[str] = "2"
    config_type: ClassVar[type[AutoDdpmConfig]] = AutoDdpmConfig

    def __init__(self, config: AutoDdpmConfig, spec: ImageSpec) -> None:
        super().__init__(config, spec)
        self.schedule.check(config.t_inpaint)
        self.polarity = residual_sign(spec, signed=config.signed)

    def make_noise(self, spec: ImageSpec) -> Noise:
        """Returns white Gaussian noise."""
        return Gaussian()

    @torch.no_grad()
    def predict(self, images: ImageBatch, noise: Sequence[torch.Generator]) -> Prediction:
        """Masks what the first reconstruction changes, re-samples it, and scores the final change."""
        self.ready(images)
        image, config = images.image, self.config

        def draw(like: Tensor, step: int) -> Tensor:
            return self.noise(like, noise, torch.full((len(like),), step, device=like.device))

        first = reconstruct(self.denoiser, self.schedule, self.noise, config, images, noise)
        suspect = suspicion(image, first, structure=config.structure)
        mask = dilated_mask(suspect, config.mask_quantile)
        restored = inpaint(
            self.denoiser,
            self.schedule,
            image,
            first,
            mask,
            draw,
            t=config.t_inpaint,
            steps=config.inpaint_steps,
            resample=config.resample,
        ).clamp(-1, 1)
        anomaly_map = residual_map(image, restored, self.polarity) * suspect
        return Prediction(anomaly_map, top_mean(anomaly_map, images.body), restored)
