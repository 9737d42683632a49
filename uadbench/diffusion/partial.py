"""Partial diffusion: noise an image up to step t and bring it back; what does not come back is anomalous."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from pydantic import Field
from torch import Generator, Tensor

from uadbench.core.types import ImageBatch
from uadbench.diffusion.epsilon import Denoiser, DiffusionConfig
from uadbench.diffusion.noises import Noise
from uadbench.diffusion.samplers import ancestral, ddim
from uadbench.diffusion.schedules import Schedule


class PartialConfig(DiffusionConfig):
    """Settings of methods that reconstruct by partial diffusion.

    Attributes:
        t: Step that images are noised to.
        chain: ``ancestral`` (Ho et al.) with fresh noise a step, ``ddim`` without, or ``one_step``.
        chain_steps: Network calls of a chain, evenly spaced; 0 for every step (ancestral alone).
        samples: Reconstructions that are averaged, each from noise of its own.
    """

    t: int = Field(default=250, ge=0)
    chain: Literal["ancestral", "ddim", "one_step"] = "ancestral"
    chain_steps: int = Field(default=0, ge=0, le=10_000)
    samples: int = Field(default=1, ge=1, le=100)


def reconstruct(
    denoiser: Denoiser,
    schedule: Schedule,
    noise: Noise,
    config: PartialConfig,
    images: ImageBatch,
    generators: Sequence[Generator],
) -> Tensor:
    """Returns the mean reconstruction (b, c, h, w) in [-1, 1] of partial diffusion up to ``config.t``."""

    def draw(like: Tensor, step: int) -> Tensor:
        return noise(like, generators, torch.full((len(like),), step, device=like.device), images.body)

    total = torch.zeros_like(images.image)
    for _ in range(config.samples):
        t = torch.full((len(images),), config.t, device=images.image.device)
        x_t = schedule.diffuse(images.image, draw(images.image, config.t), t)
        if config.chain == "ancestral":
            total += ancestral(denoiser, schedule, x_t, config.t, draw, config.chain_steps)
        else:
            steps = 1 if config.chain == "one_step" else config.chain_steps or config.t + 1
            total += ddim(denoiser, schedule, x_t, config.t, steps)
    return (total / config.samples).clamp(-1, 1)
