"""Config of ``dae``.

``paper``: Kascenas et al. 2022 and the code published with it: noise of standard deviation 0.2 on the [0, 1] scale,
which is 0.4 on the [-1, 1] scale used here; 16 x 16 grid; lr 1e-4; batch 16; 67 200 steps; gradients clipped at a norm
of 0.5; widths 64 to 512. ``published.py`` has the values with their source.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import Field, field_validator

from uadbench.core.config import ResidualConfig
from uadbench.diffusion.config import TrainingConfig
from uadbench.methods.dae.published import PUBLISHED


class DaeConfig(TrainingConfig, ResidualConfig):
    """Settings of the denoising autoencoder.

    Attributes:
        noise_std: Standard deviation of the coarse values, on the [-1, 1] scale.
        noise_cells: Side of the coarse grid.
        median: Side of the median filter of the map in pixels of the 128 grid, odd; 1 for none.
        erode: Side of the window in pixels of the 128 grid, odd, of which more than 95 % must be in the body for a
            pixel to be scored, before the median; 1 scores the whole body. Public code: 5.
    """

    noise_std: float = Field(default=0.4, gt=0, le=4)
    noise_cells: int = Field(default=16, ge=2, le=256)
    median: int = Field(default=5, ge=1, le=15)
    erode: int = Field(default=1, ge=1, le=63)

    @field_validator("median", "erode")
    @classmethod
    def _odd(cls, value: int) -> int:
        if value % 2 == 0:
            raise ValueError("the side of a filter is odd")
        return value

    PUBLISHED = PUBLISHED
    INFERENCE: ClassVar[frozenset[str]] = frozenset({"median", "erode", "signed"})
    PRESETS: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "smoke": {"image_size": 32, "widths": (16, 24, 32), "train_images": 320},
        # 256 steps of 16: the 4096 training images of every learned method in this preset
        "quick": {"image_size": 64, "train_images": 4096},
        "standard": {"image_size": 128, "widths": (64, 128, 256, 512), "train_images": 400_000, "lr": 1e-4},
        "paper": {
            "image_size": 128,
            "widths": (64, 128, 256, 512),
            "train_images": 1_075_200,
            "batch_size": 16,
            "lr": 1e-4,
            "weight_decay": 1e-5,
            "clip": 0.5,
            "erode": 5,
            "flip": False,
        },
    }
