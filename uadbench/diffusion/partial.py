"""Partial diffusion: noises an image up to step t and denoises it; what is not restored is anomalous."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Generic, Self, TypeVar

import torch
from torch import Generator, Tensor, nn

from uadbench.core.errors import UserError, imported_only
from uadbench.core.method import FitContext
from uadbench.core.roles import Supervision
from uadbench.core.types import Batches, ImageBatch, ImageSpec
from uadbench.diffusion.config import DiffusionConfig, PartialConfig
from uadbench.diffusion.epsilon import Denoiser, train_epsilon
from uadbench.diffusion.noises import Noise
from uadbench.diffusion.samplers import ancestral, ddim
from uadbench.diffusion.schedules import Schedule
from uadbench.nn.guided_checkpoint import read_structure, take_weights
from uadbench.nn.unet import GuidedUNet

Config = TypeVar("Config", bound=DiffusionConfig)


class PartialDiffusion(nn.Module, Generic[Config]):
    """A network trained to remove noise from healthy images: the common part of the methods based on it.

    A method defines its noise (``make_noise``) and how it scores images (``predict``).

    Args:
        config: Settings.
        spec: Shape of the images.

    Attributes:
        noise: Training noise.
    """

    supervision: ClassVar[Supervision] = Supervision.HEALTHY

    def __init__(self, config: Config, spec: ImageSpec) -> None:
        super().__init__()
        self.config = config
        self.schedule = Schedule.make(config.schedule, config.timesteps)
        self.schedule.check(config.t)
        self.noise = self.make_noise(spec)
        self.denoiser = Denoiser(config, spec)

    def make_noise(self, spec: ImageSpec) -> Noise:
        """Returns the noise of the training."""
        raise NotImplementedError

    @classmethod
    def build(cls, config: Config, spec: ImageSpec) -> Self:
        """Creates an untrained model.

        Raises:
            UserError: If the image does not suit the network, or a step the schedule.
        """
        return cls(config, spec).eval()

    def fit(self, train: Batches, calib: Batches, run: FitContext, labelled: Batches | None = None) -> None:
        """Learns to predict the noise at every step of the schedule.

        Raises:
            UserError: If the config specifies imported weights.
            DataError: If there is no training image.
            Diverged: If the loss is no longer finite.
        """
        if self.config.checkpoint:
            raise imported_only(self.config.checkpoint)
        train_epsilon(self.denoiser, self.noise, self.schedule, self.config, train, run)

    @classmethod
    def checkpoint_settings(cls, state: Mapping[str, Tensor], size: int) -> dict[str, Any]:
        """Returns the config values implied by the names and shapes in a checkpoint, for images of ``size`` pixels.

        Raises:
            DataError: If it is of another kind of network.
        """
        found = read_structure(state)
        return {
            "network": "guided",
            "base": found.base,
            "multipliers": found.multipliers,
            "blocks": found.blocks,
            "attention": found.attention(size),
        }

    def take_checkpoint(self, state: Mapping[str, Tensor]) -> None:
        """Loads the network's weights from a checkpoint in the layout of guided diffusion.

        Raises:
            UserError: If the config specifies another network.
            DataError: If a key or shape is not that of the network.
        """
        network = self.denoiser.network
        if not isinstance(network, GuidedUNet):
            raise UserError("The plain network cannot import checkpoints.", "Remove --set network.")
        take_weights(network, state)

    def ready(self, images: ImageBatch) -> None:
        """Prepares the network to predict these images.

        Raises:
            UserError: If they have another shape than the network was built for.
        """
        self.eval()
        self.denoiser.check(images)
        self.denoiser.arrange()


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
