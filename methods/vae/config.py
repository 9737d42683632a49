"""Config of ``vae``.

Values of ``paper``: Baur et al. 2021 and the code published with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import Field

from uadbench.core.config import ResidualConfig
from uadbench.nn.config import Schedule


class VAEConfig(ResidualConfig):
    """Settings of the variational autoencoder.

    Attributes:
        steps: Training steps.
        batch_size: Images per step.
        lr: Learning rate of Adam at the first step.
        schedule: How the learning rate falls.
        beta: Weight of the Kullback-Leibler term against the sum of absolute residuals.
        latent: Length of the code.
        levels: Number of halvings; 4 at 128 pixels gives the study's 8 x 8 grid.
        width: Filters at the finest level, doubled at each level.
        max_width: Upper limit of the number of filters.
        dropout: Probability of dropping a value of the code.
    """

    steps: int = Field(default=100_000, ge=1)
    batch_size: int = Field(default=8, ge=2)
    lr: float = Field(default=1e-4, gt=0, le=1)
    schedule: Schedule = "constant"
    beta: float = Field(default=1.0, ge=0)
    latent: int = Field(default=128, ge=1, le=4096)
    levels: int = Field(default=4, ge=1, le=8)
    width: int = Field(default=32, ge=8, le=512)
    max_width: int = Field(default=128, ge=8, le=1024)
    dropout: float = Field(default=0.0, ge=0, lt=1)

    INFERENCE: ClassVar[frozenset[str]] = frozenset({"signed"})
    PRESETS: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "smoke": {"image_size": 32, "steps": 20, "batch_size": 4, "lr": 1e-3, "levels": 2, "width": 16, "latent": 32},
        # 256 steps of 16: the 4096 training images of every learned method in this preset
        "quick": {"image_size": 64, "steps": 256, "batch_size": 16, "lr": 1e-3, "schedule": "cosine", "levels": 3},
        "standard": {"steps": 20_000, "batch_size": 32, "lr": 5e-4, "schedule": "cosine"},
        # All from the study except the number of steps: it trains up to 1000 epochs with early stopping on held-out
        # loss.
        "paper": {"batch_size": 8, "lr": 1e-4, "dropout": 0.2},
    }
