"""The multi-stage loop: restore, compare with the ORIGINAL image, keep what agrees, restore again."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from uadbench.diffusion.blur import kernel_blur
from uadbench.diffusion.samplers import filled

Restore = Callable[[Tensor, list[int]], Tensor]


@dataclass(frozen=True)
class StageRule:
    """How stages are chained and when they stop. Pixels refer to the current image.

    Attributes:
        stages: Maximum (adaptive) or exact number of stages.
        adaptive: Stop an image whose mask area changed by no more than ``change``.
        change: Largest relative change of the mask area at which an image has converged.
        floor: Minimum denominator of that change, in pixels.
        fusion: Input of the next stage: ``binary`` m x_hat + (1 - m) x0; ``soft``, the same with the residual above
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
    """Runs the stages of one batch (b, c, h, w), each call with b images."""
    return next(refine_stream([image], restore, rule, len(image)))


def refine_stream(batches: Iterable[Tensor], restore: Restore, rule: StageRule, size: int) -> Iterator[Refined]:
    """Runs the stages of every image of a stream, images of different batches and stages sharing calls.

    Every call but the last few takes ``size`` images, the oldest first: over the whole stream there are at most
    ceil(sum of the images' own stages / size) + stages calls, and at most ``size`` images plus one batch are on their
    way. All arithmetic has the shape of ``size`` images, so an image's bits do not depend on the others.

    Args:
        batches: Original images x0, each (b, c, h, w). All residuals are against them.
        restore: Maps the inputs of a stage, (n, c, h, w) with n <= size, and the positions of these images in the
            stream to x_hat, (n, c, h, w).
        rule: Settings.
        size: Images in each call.

    Yields:
        One result per batch, in order.
    """
    stream = iter(batches)
    waiting: deque[_Batch] = deque()
    going: list[_Image] = []
    count = 0
    while True:
        while len(going) < size and (image := next(stream, None)) is not None:
            batch = _Batch(image)
            waiting.append(batch)
            going += [_Image(batch, row, count + row, image[row]) for row in range(len(image))]
            count += len(image)
        if not going:
            return
        some = going[:size]
        image = torch.stack([one.batch.image[one.row] for one in some])
        found = restore(torch.stack([one.current for one in some]), [one.position for one in some])
        going = _advance(some, filled(image, size), filled(found, size), rule) + going[size:]
        while waiting and waiting[0].left == 0:
            done = waiting.popleft()
            yield Refined(done.restored, done.mask, done.stages)


class _Batch:
    """A batch of the stream with the results of its images so far."""

    def __init__(self, image: Tensor) -> None:
        self.image = image
        self.restored = torch.empty_like(image)
        self.mask = torch.zeros_like(image[:, :1], dtype=torch.bool)
        self.stages = [0] * len(image)
        self.left = len(image)


@dataclass
class _Image:
    """An image in progress."""

    batch: _Batch
    row: int
    position: int
    current: Tensor
    area: int = 0
    ran: int = 0


def _advance(some: list[_Image], image: Tensor, restored: Tensor, rule: StageRule) -> list[_Image]:
    """Processes the result of a call and returns the images that continue."""
    fresh, weight = _weights(image, restored, rule)
    current = weight * restored + (1 - weight) * image if rule.fusion != "none" else restored
    areas = fresh.sum(dim=(1, 2, 3)).tolist()
    going: list[_Image] = []
    for place, one in enumerate(some):
        one.ran += 1
        one.current = current[place]
        converged = rule.adaptive and one.ran > 1 and _converged(one.area, areas[place], rule)
        one.area = areas[place]
        if one.ran < rule.stages and not converged:
            going.append(one)
            continue
        batch, row = one.batch, one.row
        batch.restored[row], batch.mask[row], batch.stages[row] = restored[place], fresh[place], one.ran
        batch.left -= 1
    return going


def _converged(before: int, after: int, rule: StageRule) -> bool:
    return abs(after - before) <= rule.change * max(before, rule.floor)


def _weights(image: Tensor, restored: Tensor, rule: StageRule) -> tuple[Tensor, Tensor]:
    """Returns the stage's mask and the fusion weight."""
    soft = rule.fusion == "soft"
    size, tau = (rule.map_k, rule.tau) if soft else (rule.stage_k, rule.stage_tau)
    difference = residual(image, restored, size)
    mask = _drop_small(difference > tau, rule.min_component)
    return mask, (difference if soft else 1.0) * mask


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
