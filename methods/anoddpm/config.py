"""Config of ``anoddpm``.

``paper`` follows Wyatt et al. 2022 and the settings published with its code: linear schedule of 1000 steps, 256 x 256,
base 128, attention at 16 and 8, batch 1, lr 1e-4, 3000 epochs (here of 100 volumes, one slice each), simplex noise of 6
octaves with persistence 0.8 and frequency 64, t = 250, trained below t = 800. Its t was reported on images with
lesions. ``published.py`` has the values with their source. ``quick`` uses the
learning rate of a trial with a small budget.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field

from uadbench.core.config import ResidualConfig
from uadbench.diffusion.config import PartialConfig, ScheduleName
from uadbench.methods.anoddpm.published import PUBLISHED


class AnoDdpmConfig(PartialConfig, ResidualConfig):
    """Settings of AnoDDPM.

    Attributes:
        frequency: Pixels of a 256 grid per unit of the coarsest octave of noise; scaled with the image.
        octaves: Octaves of the noise.
        persistence: Amplitude of an octave relative to the coarser one.
        residual: ``squared`` (the paper's) or ``absolute`` difference as map.
    """

    schedule: ScheduleName = "linear"
    frequency: float = Field(default=64.0, ge=1, le=1024)
    octaves: int = Field(default=6, ge=1, le=10)
    persistence: float = Field(default=0.8, gt=0, le=1)
    residual: Literal["squared", "absolute"] = "squared"

    PUBLISHED = PUBLISHED
    INFERENCE: ClassVar[frozenset[str]] = frozenset({"t", "chain", "chain_steps", "samples", "signed", "residual"})
    PRESETS: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "smoke": {"image_size": 32, "widths": (16, 24, 32), "train_images": 320, "chain": "ddim", "chain_steps": 2},
        # 256 steps of 16: the 4096 training images of every learned method in this preset
        "quick": {"image_size": 64, "train_images": 4096, "chain": "ddim", "chain_steps": 5},
        "standard": {
            "image_size": 128,
            "network": "guided",
            "train_images": 400_000,
            "batch_size": 16,
            "lr": 1e-4,
            "chain": "ddim",
            "chain_steps": 25,
        },
        "paper": {
            "image_size": 256,
            "network": "guided",
            "multipliers": (1, 1, 2, 2, 4, 4),
            "train_images": 300_000,
            "batch_size": 1,
            "lr": 1e-4,
            "lr_decay": "constant",
            "train_below": 800,
            "flip": False,
        },
    }
