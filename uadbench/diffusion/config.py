"""Settings shared by the diffusion methods, without importing torch, so that errors are reported quickly."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from uadbench.nn.config import UNetConfig

ScheduleName = Literal["cosine", "linear"]
Roi = Literal["none", "disc", "body"]


class TrainingConfig(UNetConfig):
    """Settings shared by all methods trained by denoising.

    Attributes:
        train_images: Images seen in training, including repeats; steps = train_images // batch_size.
        batch_size: Images per step.
        lr: Learning rate of AdamW at the first step.
        lr_decay: ``linear`` to zero over the training, or ``constant``.
        weight_decay: Weight decay of AdamW.
        clip: Largest norm of the gradient.
        flip: Mirror half of the training images left to right. Set False if sides differ, as in liver CT.
        flip_vertical: Mirror half of them top to bottom, as the public code of Synomaly does.
    """

    train_images: int = Field(default=4096, ge=1)
    batch_size: int = Field(default=16, ge=1, le=4096)
    lr: float = Field(default=5e-4, gt=0, le=1)
    lr_decay: Literal["linear", "constant"] = "linear"
    weight_decay: float = Field(default=0.0, ge=0)
    clip: float = Field(default=1.0, gt=0)
    flip: bool = True
    flip_vertical: bool = False


class DiffusionConfig(TrainingConfig):
    """Settings shared by all diffusion methods.

    Attributes:
        t: Step to which images are noised.
        schedule: Variance schedule.
        timesteps: Its length T.
        vlb: Add the variational bound (in bits per dimension, fixed-large variance) to the squared error.
        train_below: Training uses only steps t below this one; 0 for all. Public code of AnoDDPM: 800.
        checkpoint: First 16 digits of the SHA-256 of the imported checkpoint, "" for trained
            weights. Set only by ``uadbench import``; training settings are then meaningless.
    """

    t: int = Field(default=250, ge=0)
    schedule: ScheduleName = "cosine"
    timesteps: int = Field(default=1000, ge=2, le=10_000)
    vlb: bool = False
    train_below: int = Field(default=0, ge=0, le=10_000)
    checkpoint: str = Field(default="", pattern=r"^([0-9a-f]{16})?$")

    @model_validator(mode="after")
    def _steps_are_trained(self) -> Self:
        """Refuses inference from a step not used in training."""
        if self.train_below > self.timesteps:
            raise ValueError(f"train_below={self.train_below} exceeds the {self.timesteps} timesteps")
        if self.train_below and self.t >= self.train_below:
            raise ValueError(f"t={self.t} is not trained with train_below={self.train_below}")
        return self

    @property
    def images_seen(self) -> int:
        """Training images drawn; 0 for imported weights, whose training is unknown."""
        return 0 if self.checkpoint else self.train_images

    @property
    def imported(self) -> str:
        """Identifier of the checkpoint that the weights come from."""
        return self.checkpoint


class PartialConfig(DiffusionConfig):
    """Settings of methods that reconstruct by partial diffusion.

    Attributes:
        chain: ``ancestral`` (Ho et al.) with fresh noise at each step, ``ddim`` without, or ``one_step``.
        chain_steps: Network calls of a chain, evenly spaced; 0 for every step (only ancestral).
        samples: Number of reconstructions to average, each from different noise.
    """

    chain: Literal["ancestral", "ddim", "one_step"] = "ancestral"
    chain_steps: int = Field(default=0, ge=0, le=10_000)
    samples: int = Field(default=1, ge=1, le=100)
