"""AutoDDPM: mask, stitch and re-sample (Bercea et al., ICML workshop on interpretable ML in healthcare 2023).

A first reconstruction from strong noise says where to look; only there the image is re-sampled, from weak noise, so
that healthy tissue is kept as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Self

import torch
from torch import Tensor, nn

from uadbench.core.catalog import METHODS
from uadbench.core.method import FitContext
from uadbench.core.roles import Supervision
from uadbench.core.types import Batches, ImageBatch, ImageSpec, Prediction
from uadbench.diffusion.epsilon import Denoiser, train_epsilon
from uadbench.diffusion.noises import Gaussian
from uadbench.diffusion.partial import reconstruct
from uadbench.diffusion.schedules import Schedule
from uadbench.methods.autoddpm.config import AutoDdpmConfig
from uadbench.methods.autoddpm.repair import dilated_mask, inpaint, suspicion
from uadbench.nn.score import top_mean


@METHODS.register("autoddpm")
class AutoDdpm(nn.Module):
    """Anomaly map |x - x_inpainted| times the suspicion of the first reconstruction."""

    name: ClassVar[str] = "autoddpm"
    version: ClassVar[str] = "1"
    supervision: ClassVar[Supervision] = Supervision.HEALTHY
    config_type: ClassVar[type[AutoDdpmConfig]] = AutoDdpmConfig

    def __init__(self, config: AutoDdpmConfig, spec: ImageSpec) -> None:
        super().__init__()
        self.config = config
        self.schedule = Schedule.make(config.schedule, config.timesteps)
        self.schedule.check(config.t)
        self.schedule.check(config.t_inpaint)
        self.noise = Gaussian()
        self.denoiser = Denoiser(config, spec)

    @classmethod
    def build(cls, config: AutoDdpmConfig, spec: ImageSpec) -> Self:
        """Makes an untrained model.

        Raises:
            UserError: If the image does not suit the network, or a step the schedule.
        """
        return cls(config, spec).eval()

    def fit(self, train: Batches, calib: Batches, run: FitContext, labelled: Batches | None = None) -> None:
        """Learns to predict Gaussian noise at every step of the schedule.

        Raises:
            DataError: If there is no training image.
            Diverged: If the loss is no longer finite.
        """
        train_epsilon(self.denoiser, self.noise, self.schedule, self.config, train, run)

    @torch.no_grad()
    def predict(self, images: ImageBatch, noise: Sequence[torch.Generator]) -> Prediction:
        """Masks what the first reconstruction changes, re-samples it, and scores what has changed in the end."""
        self.eval()
        self.denoiser.check(images)
        self.denoiser.arrange()
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
        anomaly_map = (image - restored).abs().mean(1, keepdim=True) * suspect
        return Prediction(anomaly_map, top_mean(anomaly_map, images.body), restored)
