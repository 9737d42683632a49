"""Config of ``ddpm``.

No paper defines this baseline; ``paper`` uses the network, training and one-step reconstruction of the Synomaly
comparison (Bi et al. 2025), whose t was chosen on test lesions. ``quick`` starts from a trial on real FLAIR slices with
a small budget, split by patient.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field

from uadbench.core.config import ResidualConfig
from uadbench.diffusion.config import PartialConfig


class DdpmConfig(PartialConfig, ResidualConfig):
    """Settings of the diffusion baseline.

    Attributes:
        noise: ``gaussian``; ``coarse`` (Kascenas et al. 2022) or ``pyramid`` (Frotscher et al. 2024), both scaled to
            unit power. Training and inference use the same.
        coarse_cells: Side of the grid of coarse noise.
        pyramid_discount: Weight of a level of pyramid noise relative to the finer one.
    """

    noise: Literal["gaussian", "coarse", "pyramid"] = "gaussian"
    coarse_cells: int = Field(default=16, ge=2, le=256)
    pyramid_discount: float = Field(default=0.8, gt=0, lt=1)
    t: int = Field(default=200, ge=0)

    INFERENCE: ClassVar[frozenset[str]] = frozenset({"t", "chain", "chain_steps", "samples", "signed"})
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
            "image_size": 128,
            "network": "guided",
            "train_images": 12_477_000,
            "batch_size": 8,
            "lr": 1e-5,
            "lr_decay": "constant",
            "vlb": True,
            "chain": "one_step",
        },
    }
