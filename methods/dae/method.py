"""Denoising autoencoder with coarse noise (Kascenas et al., MIDL 2022).

A U-Net learns to remove smooth, blob-like noise from healthy images; at test time no noise is added, and what it
removes is anomalous.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from uadbench.core.catalog import METHODS
from uadbench.core.method import FitContext
from uadbench.core.roles import Supervision
from uadbench.core.types import Batches, ImageBatch, ImageSpec, Prediction, TrainBatch
from uadbench.diffusion.epsilon import Denoiser, train_denoiser
from uadbench.diffusion.noises import GRID, Coarse
from uadbench.methods.dae.config import DaeConfig
from uadbench.nn.score import residual_map, residual_sign, top_mean

SHARE = 0.95
"""Share of a pixel's window that must be in the body, as in the public code."""


@METHODS.register("dae")
class Dae(nn.Module):
    """Anomaly map |x - f(x)| after a median filter."""

    name: ClassVar[str] = "dae"
    version: ClassVar[str] = "2"
    supervision: ClassVar[Supervision] = Supervision.HEALTHY
    config_type: ClassVar[type[DaeConfig]] = DaeConfig

    def __init__(self, config: DaeConfig, spec: ImageSpec) -> None:
        super().__init__()
        self.config = config
        self.polarity = residual_sign(spec, signed=config.signed)
        self.noise = Coarse(config.noise_cells, unit=False)
        self.window, self.margin = (_scaled(side, spec) for side in (config.median, config.erode))
        self.denoiser = Denoiser(config, spec, time=False)

    @classmethod
    def build(cls, config: DaeConfig, spec: ImageSpec) -> Self:
        """Creates an untrained model.

        Raises:
            UserError: If the image does not suit the network.
        """
        return cls(config, spec).eval()

    def fit(self, train: Batches, calib: Batches, run: FitContext, labelled: Batches | None = None) -> None:
        """Learns to remove coarse noise; noise and loss are restricted to the body.

        Raises:
            DataError: If there is no training image.
            Diverged: If the loss is no longer finite.
        """

        def losses(batch: TrainBatch, generator: torch.Generator) -> dict[str, Tensor]:
            image, body = batch.images.image, batch.images.body
            t = torch.zeros(len(image), dtype=torch.long)
            noise = self.config.noise_std * self.noise(image, [generator] * len(image), t)
            restored = self.denoiser(image + noise * body)
            return {"loss": ((restored - image) * body).square().mean()}

        train_denoiser(self.denoiser, self.config, train, run, losses)

    @torch.no_grad()
    def predict(self, images: ImageBatch, noise: Sequence[torch.Generator]) -> Prediction:
        """Scores images by |x - f(x)|, mean over channels, median-filtered. No noise is drawn."""
        self.eval()
        self.denoiser.check(images)
        self.denoiser.arrange()
        restored = self.denoiser(images.image).clamp(-1, 1)
        difference = residual_map(images.image, restored, self.polarity)
        anomaly_map = median_filter(difference * eroded(images.body, self.margin), self.window)
        return Prediction(anomaly_map, top_mean(anomaly_map, images.body), restored)


def _scaled(side: int, spec: ImageSpec) -> int:
    """Converts an odd side on the 128 grid to pixels of the image."""
    return 2 * round((side - 1) / 2 * min(spec.height, spec.width) / GRID) + 1


def eroded(body: Tensor, side: int) -> Tensor:
    """Returns the pixels of a body, bool (b, 1, h, w), with more than 95 % of their ``side`` x ``side`` window in it.

    Pixels outside the image count as outside the body.
    """
    if side == 1:
        return torch.ones_like(body)
    return functional.avg_pool2d(body.float(), side, stride=1, padding=side // 2) > SHARE


def median_filter(image: Tensor, side: int) -> Tensor:
    """Returns the median over ``side`` x ``side`` pixels of (b, 1, h, w), border mirrored."""
    if side == 1:
        return image
    padded = functional.pad(image, [side // 2] * 4, mode="reflect")
    windows = padded.unfold(2, side, 1).unfold(3, side, 1)
    return windows.flatten(-2).median(dim=-1).values
