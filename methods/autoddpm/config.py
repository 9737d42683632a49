"""Config of ``autoddpm``.

``paper``: Bercea et al. 2023 and the settings published with its code: t = 200 for the mask and 50 for the inpainting
on intensities in [0, 1], which are 331 and 103 at the same noise-to-signal ratio in [-1, 1], 5 re-samplings, linear
schedule, widths 128, 256, 256 with one residual block and attention on the two coarser levels, lr 1e-4, batch 16,
3000 epochs (here of 600 images). Its settings were reported on images with lesions. ``quick`` uses the learning rate
of a trial with a small budget.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import Field

from uadbench.core.config import ResidualConfig
from uadbench.diffusion.config import PartialConfig, ScheduleName
from uadbench.methods.autoddpm.published import PUBLISHED


class AutoDdpmConfig(PartialConfig, ResidualConfig):
    """Settings of AutoDDPM.

    Attributes:
        t: Step of the first reconstruction, from which the mask comes.
        mask_quantile: Share of the image's pixels outside the mask.
        structure: Weight the residual with structural dissimilarity, which replaces the paper's LPIPS.
        t_inpaint: Step to which the stitched image is noised.
        inpaint_steps: Steps of the inpainting, evenly spaced; 0 for every step.
        resample: Network calls per step of the inpainting (1 for no re-sampling).
    """

    schedule: ScheduleName = "linear"
    t: int = Field(default=331, ge=0)
    mask_quantile: float = Field(default=0.95, gt=0, lt=1)
    structure: bool = True
    t_inpaint: int = Field(default=103, ge=0)
    inpaint_steps: int = Field(default=0, ge=0, le=10_000)
    resample: int = Field(default=5, ge=1, le=100)

    PUBLISHED = PUBLISHED
    INFERENCE: ClassVar[frozenset[str]] = frozenset(
        {
            "t",
            "chain",
            "chain_steps",
            "samples",
            "signed",
            "mask_quantile",
            "structure",
            "t_inpaint",
            "inpaint_steps",
            "resample",
        }
    )
    PRESETS: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "smoke": {
            "image_size": 32,
            "widths": (16, 24, 32),
            "train_images": 320,
            "chain": "ddim",
            "chain_steps": 1,
            "inpaint_steps": 1,
            "resample": 1,
        },
        # 256 steps of 16: the 4096 training images of every learned method in this preset
        "quick": {
            "image_size": 64,
            "train_images": 4096,
            "chain": "ddim",
            "chain_steps": 4,
            "inpaint_steps": 2,
            "resample": 2,
        },
        "standard": {
            "image_size": 128,
            "network": "guided",
            "train_images": 400_000,
            "batch_size": 16,
            "lr": 1e-4,
            "chain": "ddim",
            "chain_steps": 20,
            "inpaint_steps": 10,
            "resample": 2,
        },
        "paper": {
            "image_size": 128,
            "network": "guided",
            "multipliers": (1, 2, 2),
            "blocks": 1,
            "attention": (64, 32),
            "train_images": 1_800_000,
            "batch_size": 16,
            "lr": 1e-4,
            "lr_decay": "constant",
            "flip": False,
        },
    }
