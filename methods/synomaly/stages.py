"""The multi-stage loop: restore, compare with the ORIGINAL image, keep what agrees, restore again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from uadbench.diffusion.blur import kernel_blur

Restore = Callable[[Tensor, list[int], int], Tensor]


@dataclass(frozen=True)
class StageRule:
    """How stages are chained and when they stop. Pixels are those of the image at hand.

    Attributes:
        stages: At most (adaptive) or exactly so many stages.
        adaptive: Stop an image whose mask area changed by less than ``change``.
        change: Relative change of the mask area below which an image has converged.
        floor: Least denominator of that change, in pixels.
        fusion: What enters the next stage: ``binary`` m x_hat + (1 - m) x0; ``soft``, the same with the residual above
            ``tau`` itself as weight; ``none``, x_hat alone.
        stage_k: Size of the blur of the stage's residual.
        stage_tau: Threshold of the stage's residual.
        map_k: Size of the blur of the final residual and of the soft weight.
        tau: Threshold of the soft weight.
        min_component: 4-connected components of the stage's mask with fewer pixels are dropped.
    """

    stages: int
    adaptive: bool = True
    change: float = 0.01
    floor: int = 500
    fusion: Literal["binary", "soft", "none"] = "binary"
    stage_k: int = 3
    stage_tau: float = 0.1
    map_k: int = 15
    tau: float = 0.2
    min_component: int = 0


@dataclass(frozen=True)
class Refined:
    """Result of the loop.

    Attributes:
        restored: Last x_hat of each image, (b, c, h, w).
        mask: Mask of its last stage, bool (b, 1, h, w).
        stages: Number of stages that each image ran.
    """

    restored: Tensor
    mask: Tensor
    stages: list[int]


def residual(image: Tensor, restored: Tensor, size: int) -> Tensor:
    """Returns |blur(image) - blur(restored)|, mean over channels, as (b, 1, h, w)."""
    return kernel_blur(image - restored, size).abs().mean(1, keepdim=True)


def refine(image: Tensor, restore: Restore, rule: StageRule) -> Refined:
    """Runs the stages until every image has converged.

    Args:
        image: The original x0, (b, c, h, w). All residuals are against it.
        restore: Maps (the inputs of this stage, the rows that are active, the stage) to x_hat of those rows.
        rule: Settings.
    """
    current, restored = image.clone(), image.clone()
    mask = torch.zeros_like(image[:, :1], dtype=torch.bool)
    area = [0] * len(image)
    ran = [0] * len(image)
    active = list(range(len(image)))
    for stage in range(rule.stages):
        restored[active] = restore(current[active], active, stage)
        # whole-batch arithmetic: bits do not depend on which images are still active
        fresh, weight = _weights(image, restored, rule)
        mask[active] = fresh[active]
        current = weight * restored + (1 - weight) * image if rule.fusion != "none" else restored
        areas = fresh.sum(dim=(1, 2, 3)).tolist()
        going: list[int] = []
        for row in active:
            ran[row] = stage + 1
            if not (rule.adaptive and stage > 0 and _converged(area[row], areas[row], rule)):
                going.append(row)
            area[row] = areas[row]
        active = going
        if not active:
            break
    return Refined(restored, mask, ran)


def _converged(before: int, after: int, rule: StageRule) -> bool:
    return abs(after - before) < rule.change * max(before, rule.floor) or after == before


def _weights(image: Tensor, restored: Tensor, rule: StageRule) -> tuple[Tensor, Tensor]:
    """Returns the stage's mask and the fusion weight."""
    soft = rule.fusion == "soft"
    size, tau = (rule.map_k, rule.tau) if soft else (rule.stage_k, rule.stage_tau)
    difference = residual(image, restored, size)
    mask = _drop_small(difference > tau, rule.min_component)
    return mask, (difference.clamp_max(1) if soft else 1.0) * mask


def _drop_small(mask: Tensor, least: int) -> Tensor:
    """Drops 4-connected components of fewer than ``least`` pixels from (b, 1, h, w)."""
    if least <= 1:
        return mask
    kept = mask.cpu().numpy().copy()
    for plane in kept[:, 0]:
        labels, count = ndimage.label(plane)
        if count:
            sizes = np.bincount(labels.ravel(), minlength=count + 1)
            plane[sizes[labels] < least] = False  # a view of ``kept``
    return torch.from_numpy(kept).to(mask.device)
