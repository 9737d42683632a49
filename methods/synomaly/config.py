"""Config of ``synomaly``.

Origin of the values: ``published.py`` lists the values published by modality, with their source; t, map_k, tau and
sigma were chosen on TEST lesions by the authors (a grid over the test set), as the record's ledger states.
``quick`` and ``smoke`` start from a trial on real FLAIR slices with a small budget, split by patient (t = 200
with one stage and t = 100 with three were equally good there; the second is used because it runs the whole method). The
defaults are the values of brain FLAIR.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field, field_validator

from uadbench.diffusion.config import DiffusionConfig, Roi
from uadbench.methods.synomaly.published import PUBLISHED


class SynomalyConfig(DiffusionConfig):
    """Settings of Synomaly. Lengths in pixels are stated on the 128 grid and scaled with the image.

    Attributes:
        noise: Noise of training; inference always uses Gaussian noise for ``synomaly``, the same kind for the others.
        sigma: Sigma of the blur that generates the blobs.
        threshold: Level of the blobs on 0..255.
        offset: Minimum shift inside blobs.
        direction: Sign of the shift, or a list to draw from, or None: the dataset's polarity, or both signs if that is
            unknown.
        roi: Region of the blobs.
        t: Step to which images are noised at inference.
        stages: Maximum number of stages (adaptive), or their number.
        adaptive: Stop an image whose mask area no longer changes.
        change: Relative change of the area below which an image has converged.
        floor: Minimum denominator of that change, in pixels. Published code: 500; the paper has none.
        fusion: Input of the next stage: ``binary`` (the paper's figure), ``soft`` (the published code) or ``none``.
        stage_k: Blur of the stage's residual. Authors' notebooks: 3.
        stage_tau: Threshold of the stage's mask on the [-1, 1] scale. Authors' notebooks: 0.1.
        map_k: Blur of the returned map.
        tau: Threshold of the soft weight. Published: 0.2, carotid 0.3. The returned map is not thresholded.
        min_component: Smaller 4-connected parts of a stage's mask are dropped. Published code: 30.
        chain: ``one_step``, one network call per stage, or ``ddim``.
        chain_steps: Network calls per stage of ``ddim``.
    """

    noise: Literal["synomaly", "gaussian", "coarse", "pyramid", "simplex"] = "synomaly"
    sigma: float = Field(default=3.0, gt=0, le=64)
    threshold: float = Field(default=175.0, gt=0, lt=255)
    offset: float = Field(default=0.5, ge=0, le=10)
    direction: tuple[Literal[-1, 1], ...] | None = Field(default=None, min_length=1)
    roi: Roi = "none"
    t: int = Field(default=150, ge=0)
    stages: int = Field(default=5, ge=1, le=20)
    adaptive: bool = True
    change: float = Field(default=0.01, ge=0, lt=1)
    floor: int = Field(default=500, ge=0)
    fusion: Literal["binary", "soft", "none"] = "binary"
    stage_k: int = Field(default=3, ge=1, le=63)
    stage_tau: float = Field(default=0.1, ge=0, le=2)
    map_k: int = Field(default=15, ge=1, le=63)
    tau: float = Field(default=0.2, ge=0, le=2)
    min_component: int = Field(default=30, ge=0)
    chain: Literal["one_step", "ddim"] = "one_step"
    chain_steps: int = Field(default=10, ge=1, le=1000)

    @field_validator("direction", mode="before")
    @classmethod
    def _list(cls, value: Any) -> Any:
        if value == 0:
            return None
        return (value,) if isinstance(value, int) else value

    @field_validator("stage_k", "map_k")
    @classmethod
    def _odd(cls, value: int) -> int:
        if value % 2 == 0:
            raise ValueError("blur sizes are odd")
        return value

    PUBLISHED = PUBLISHED
    INFERENCE: ClassVar[frozenset[str]] = frozenset(
        {
            "t",
            "stages",
            "adaptive",
            "change",
            "floor",
            "fusion",
            "stage_k",
            "stage_tau",
            "map_k",
            "tau",
            "min_component",
            "chain",
            "chain_steps",
        }
    )
    PRESETS: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "smoke": {"image_size": 32, "widths": (16, 24, 32), "train_images": 320, "t": 100, "stages": 2},
        # 256 steps of 16: the 4096 training images of every learned method in this preset
        "quick": {"image_size": 64, "train_images": 4096, "t": 100, "stages": 3},
        # The paper's network for the number of images that some hours of one GPU allow; t from the brain notebooks.
        "standard": {
            "image_size": 128,
            "network": "guided",
            "train_images": 400_000,
            "batch_size": 16,
            "predict_batch": 4,  # enough for two cores; a larger batch wastes more in the last calls of a role
            "lr": 1e-4,
        },
        # Brain MRI: lr 1e-5, batch 8, 3000 epochs over 4159 slices, constant rate, both loss terms.
        "paper": {
            "image_size": 128,
            "network": "guided",
            "train_images": 12_477_000,
            "batch_size": 8,
            "predict_batch": 4,
            "lr": 1e-5,
            "lr_decay": "constant",
            "vlb": True,
        },
    }
