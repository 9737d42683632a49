"""Settings that the diffusion methods share. Importing them imports no torch: a wrong value is answered at once."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from uadbench.nn.config import UNetConfig

ScheduleName = Literal["cosine", "linear"]
Roi = Literal["none", "disc", "body"]


class TrainingConfig(UNetConfig):
    """Settings that every method trained by denoising shares.

    Attributes:
        train_images: Images seen in training, repeats counted; steps = train_images // batch_size.
        batch_size: Images per step.
        lr: Learning rate of AdamW at the first step.
        lr_decay: ``linear`` to zero over the training, or ``constant``.
        weight_decay: Weight decay of AdamW.
        clip: Largest norm of the gradient.
        flip: Mirror half of the training images left to right. Set False where sides differ, as in liver CT.
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
    """Settings that every diffusion method shares.

    Attributes:
        t: Step that images are noised to.
        schedule: Variance schedule.
        timesteps: Its length T.
        vlb: Add the variational bound (in bits per dimension, fixed-large variance) to the squared error.
        train_below: Steps t of the training lie below this one; 0 for all. Public code of AnoDDPM: 800.
        checkpoint: First 16 digits of the SHA-256 of the checkpoint that the weights come from, "" for a training of
            their own. Set by ``uadbench import`` alone; the settings of the training then say nothing.
    """

    t: int = Field(default=250, ge=0)
    schedule: ScheduleName = "cosine"
    timesteps: int = Field(default=1000, ge=2, le=10_000)
    vlb: bool = False
    train_below: int = Field(default=0, ge=0, le=10_000)
    checkpoint: str = Field(default="", pattern=r"^([0-9a-f]{16})?$")

    @model_validator(mode="after")
    def _steps_are_trained(self) -> Self:
        """Refuses an inference from a step that the training leaves out."""
        if self.train_below > self.timesteps:
            raise ValueError(f"train_below={self.train_below} exceeds the {self.timesteps} timesteps")
        if self.train_below and self.t >= self.train_below:
            raise ValueError(f"t={self.t} is not trained with train_below={self.train_below}")
        return self

    @property
    def images_seen(self) -> int:
        """Training images drawn; 0 for imported weights, whose training nobody here has seen."""
        return 0 if self.checkpoint else self.train_images

    @property
    def imported(self) -> str:
        """What names the checkpoint that the weights come from."""
        return self.checkpoint


class PartialConfig(DiffusionConfig):
    """Settings of methods that reconstruct by partial diffusion.

    Attributes:
        chain: ``ancestral`` (Ho et al.) with fresh noise at each step, ``ddim`` without, or ``one_step``.
        chain_steps: Network calls of a chain, evenly spaced; 0 for every step (ancestral alone).
        samples: Reconstructions that are averaged, each from noise of its own.
    """

    chain: Literal["ancestral", "ddim", "one_step"] = "ancestral"
    chain_steps: int = Field(default=0, ge=0, le=10_000)
    samples: int = Field(default=1, ge=1, le=100)
