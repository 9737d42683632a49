"""Synomaly noise and multi-stage diffusion (Bi et al., Medical Image Analysis 2025, arXiv 2411.04004).

Training: predict Gaussian noise with synthetic anomalies ("Synomaly noise"), so that the network learns to remove
blobs. Inference: noise, restore in one step, keep what agrees with the image, and again until nothing changes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import ClassVar

import torch
from torch import Tensor

from uadbench.core.catalog import METHODS
from uadbench.core.method import BatchWithNoise
from uadbench.core.types import ImageBatch, ImageSpec, Prediction
from uadbench.diffusion import noises
from uadbench.diffusion.partial import PartialDiffusion
from uadbench.diffusion.samplers import ddim, filled
from uadbench.methods.synomaly.config import SynomalyConfig
from uadbench.methods.synomaly.stages import StageRule, refine_stream, residual
from uadbench.nn.score import top_mean


@METHODS.register("synomaly")
class Synomaly(PartialDiffusion[SynomalyConfig]):
    """Anomaly map |blur(x0) - blur(x_hat)| of the last stage, before any threshold."""

    name: ClassVar[str] = "synomaly"
    version: ClassVar[str] = "2"
    config_type: ClassVar[type[SynomalyConfig]] = SynomalyConfig

    def __init__(self, config: SynomalyConfig, spec: ImageSpec) -> None:
        super().__init__(config, spec)
        # Synomaly noise is only for training: test images have their own anomalies
        self.inference_noise = noises.Gaussian() if config.noise == "synomaly" else self.noise
        signs = set(directions(config, spec)) if config.noise == "synomaly" else set[int]()
        self.polarity = signs.pop() if len(signs) == 1 else 0
        self.rule = stage_rule(config, spec)

    def make_noise(self, spec: ImageSpec) -> noises.Noise:
        """Returns the training noise; an unset direction is the dataset's polarity, or both signs if unknown."""
        config = self.config
        if config.noise == "gaussian":
            return noises.Gaussian()
        if config.noise == "coarse":
            return noises.Coarse()
        if config.noise == "pyramid":
            return noises.Pyramid()
        if config.noise == "simplex":
            from uadbench.diffusion.simplex import Simplex  # numba takes long to import

            return Simplex.scaled(spec)
        return noises.Synomaly(config.sigma, config.threshold, config.offset, directions(config, spec), config.roi)

    def predict(self, images: ImageBatch, noise: Sequence[torch.Generator]) -> Prediction:
        """Runs the stages of one batch; images that have converged leave it."""
        return next(self.predict_many([(images, noise)], len(images)))

    @torch.no_grad()
    def predict_many(self, batches: Iterable[BatchWithNoise], size: int) -> Iterator[Prediction]:
        """Runs the stages of a stream of batches; images of different batches and stages share the calls.

        Every network call has exactly ``size`` images: the shapes, and thus the bits, never depend on which other
        images are in progress.
        """
        self.eval()
        self.denoiser.arrange()
        generators: dict[int, torch.Generator] = {}  # by position in the stream, for batches in progress
        taken: deque[tuple[ImageBatch, range]] = deque()

        def originals() -> Iterator[Tensor]:
            start = 0
            for images, noise in batches:
                self.denoiser.check(images)
                positions = range(start, start + len(images))
                generators.update(zip(positions, noise, strict=True))
                taken.append((images, positions))
                start = positions.stop
                yield images.image

        def restore(current: Tensor, positions: list[int]) -> Tensor:
            t = torch.full((len(current),), self.config.t, device=current.device)
            own = [generators[position] for position in positions]
            x_t = self.schedule.diffuse(current, self.inference_noise(current, own, t), t)
            return self._denoise(filled(x_t, size))[: len(current)]

        for refined in refine_stream(originals(), restore, self.rule, size):
            images, positions = taken.popleft()
            for position in positions:
                del generators[position]
            image, restored = (filled(value, max(size, len(images))) for value in (images.image, refined.restored))
            anomaly_map = residual(image, restored, self.rule.map_k)[: len(images)]
            yield Prediction(anomaly_map, top_mean(anomaly_map, images.body), refined.restored)

    def _denoise(self, x_t: Tensor) -> Tensor:
        steps = 1 if self.config.chain == "one_step" else self.config.chain_steps
        return ddim(self.denoiser, self.schedule, x_t, self.config.t, steps)


def directions(config: SynomalyConfig, spec: ImageSpec) -> tuple[int, ...]:
    """Returns the signs that a blob may have."""
    return config.direction or ((spec.polarity,) if spec.polarity else (-1, 1))


def stage_rule(config: SynomalyConfig, spec: ImageSpec) -> StageRule:
    """Returns the rule of the stages with lengths and areas scaled from the 128 grid to the image."""
    ratio = min(spec.height, spec.width) / noises.GRID

    def kernel(size: int) -> int:
        return size if size == 1 else max(3, 2 * round((size - 1) / 2 * ratio) + 1)

    return StageRule(
        stages=config.stages,
        adaptive=config.adaptive,
        change=config.change,
        floor=round(config.floor * ratio**2),
        fusion=config.fusion,
        stage_k=kernel(config.stage_k),
        stage_tau=config.stage_tau,
        map_k=kernel(config.map_k),
        tau=config.tau,
        min_component=round(config.min_component * ratio**2),
    )
