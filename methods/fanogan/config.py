"""Config of ``fanogan``.

Values of ``paper``: Schlegl et al. 2019 and the code published with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import Field

from uadbench.core.config import MethodConfig


class FAnoGANConfig(MethodConfig):
    """Settings of f-AnoGAN.

    Attributes:
        gan_steps: Updates of the generator.
        critic_iters: Updates of the critic per update of the generator, each on a new batch.
        encoder_steps: Updates of the encoder.
        batch_size: Images per update.
        lr: Learning rate of Adam for generator and critic.
        encoder_lr: Learning rate of RMSprop for the encoder.
        penalty: Weight of the gradient penalty.
        kappa: Weight of the feature residual against the image residual, in training and in the score.
        latent: Length of the code.
        width: Filters at the finest level.
        levels: Number of halvings; 4 at 64 pixels gives the paper's 4 x 4 grid.
    """

    gan_steps: int = Field(default=100_000, ge=1)
    critic_iters: int = Field(default=5, ge=1, le=20)
    encoder_steps: int = Field(default=50_000, ge=1)
    batch_size: int = Field(default=64, ge=2)
    lr: float = Field(default=1e-4, gt=0, le=1)
    encoder_lr: float = Field(default=5e-5, gt=0, le=1)
    penalty: float = Field(default=10.0, ge=0)
    kappa: float = Field(default=1.0, ge=0)
    latent: int = Field(default=128, ge=1, le=4096)
    width: int = Field(default=64, ge=4, le=256)
    levels: int = Field(default=4, ge=1, le=8)

    @property
    def images_seen(self) -> int:
        """Real images drawn by critic and encoder, including repeats."""
        return (self.gan_steps * self.critic_iters + self.encoder_steps) * self.batch_size

    # kappa also weights the score, but the encoder is trained with it
    INFERENCE: ClassVar[frozenset[str]] = frozenset()
    PRESETS: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "smoke": {
            "image_size": 32,
            "gan_steps": 6,
            "critic_iters": 2,
            "encoder_steps": 8,
            "batch_size": 4,
            "encoder_lr": 1e-3,
            "latent": 32,
            "width": 8,
            "levels": 3,
        },
        # (160 x 1 + 96) updates of 16: the 4096 training images that every learned method sees in this preset
        "quick": {
            "image_size": 64,
            "gan_steps": 160,
            "critic_iters": 1,
            "encoder_steps": 96,
            "batch_size": 16,
            "lr": 5e-4,
            "encoder_lr": 1e-3,
            "width": 16,
        },
        "standard": {
            "image_size": 128,
            "gan_steps": 10_000,
            "encoder_steps": 10_000,
            "batch_size": 32,
            "width": 32,
            "levels": 5,
        },
        # All published except the number of generator updates, which corresponds to 7 epochs of the paper's private
        # data.
        "paper": {"image_size": 64},
    }
