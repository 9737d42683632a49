"""nnU-Net's augmentation of training images, seeded only by the step.

Probabilities and ranges are those of Isensee et al., "nnU-Net" (Nature Methods 2021, supplementary note 4), with these
differences: rotations reach 30 degrees instead of 180, because organs are never upside down; intensities are in
[-1, 1] with -1 as no signal, so brightness and gamma act on their distance from -1 and the noise is scaled to it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional

from uadbench.core.types import ImageBatch, TrainBatch

EMPTY = -1.0
"""Fill value outside a rotated or shrunk image: no signal."""


def augmented(batch: TrainBatch, generator: torch.Generator) -> TrainBatch:
    """Augments each image, and applies spatial changes to its body and mask.

    Args:
        batch: Images in [-1, 1], (b, c, h, w), on the CPU.
        generator: CPU generator of the step: the same one gives the same images, so that a resumed fit is unchanged.
    """
    images, masks = batch.images.image.clone(), torch.cat([batch.images.body, _mask(batch)], dim=1).clone()
    dice = Dice(generator)
    for i in range(len(images)):
        image, moved = _moved(images[i], masks[i], dice)
        images[i], masks[i] = _recoloured(image, dice), moved
    mask = None if batch.mask is None else masks[:, 1:]
    return TrainBatch(ImageBatch(batch.images.uid, images, masks[:, :1]), mask)


@dataclass(frozen=True)
class Dice:
    """Random decisions and numbers from one generator."""

    generator: torch.Generator

    def chance(self, probability: float) -> bool:
        """Returns True with the given probability."""
        return self.number(0, 1) < probability

    def number(self, low: float, high: float) -> float:
        """Returns a number between two others."""
        return low + (high - low) * float(torch.rand((), generator=self.generator))


def _mask(batch: TrainBatch) -> Tensor:
    return torch.zeros_like(batch.images.body) if batch.mask is None else batch.mask


def _moved(image: Tensor, masks: Tensor, dice: Dice) -> tuple[Tensor, Tensor]:
    """Rotates, scales and deforms an image (c, h, w) and its masks (2, h, w)."""
    angle = dice.number(-30, 30) if dice.chance(0.2) else 0.0
    scale = dice.number(0.7, 1.4) if dice.chance(0.2) else 1.0
    if angle or scale != 1:

        def turn(values: Tensor, how: InterpolationMode, fill: float) -> Tensor:
            return functional.affine(values, angle, [0, 0], scale, [0.0, 0.0], interpolation=how, fill=[fill])

        image, masks = _both(turn, image, masks)
    if dice.chance(0.2):
        height, width = image.shape[-2:]
        coarse = torch.rand(1, 2, 5, 5, generator=dice.generator) * 2 - 1
        # up to 6 % of the side, in the unit of torchvision: half a side
        smooth = torch.nn.functional.interpolate(coarse, (height, width), mode="bicubic", align_corners=True)
        shift = 0.12 * dice.number(0, 1) * smooth.permute(0, 2, 3, 1)

        def bend(values: Tensor, how: InterpolationMode, fill: float) -> Tensor:
            return functional.elastic(values, shift, interpolation=how, fill=[fill])

        image, masks = _both(bend, image, masks)
    return image, masks


def _both(
    change: Callable[[Tensor, InterpolationMode, float], Tensor], image: Tensor, masks: Tensor
) -> tuple[Tensor, Tensor]:
    moved = change(masks.float(), InterpolationMode.NEAREST, 0.0) > 0.5
    return change(image, InterpolationMode.BILINEAR, EMPTY).clamp(-1, 1), moved


def _recoloured(image: Tensor, dice: Dice) -> Tensor:
    """Adds noise, blurs, changes brightness, contrast, resolution and gamma of an image (c, h, w)."""
    if dice.chance(0.1):
        image = image + dice.number(0, 0.1) * torch.randn(image.shape, generator=dice.generator)
    if dice.chance(0.2):
        image = functional.gaussian_blur(image, [7, 7], [dice.number(0.5, 1.0)])
    if dice.chance(0.15):
        image = (image - EMPTY) * dice.number(0.75, 1.25) + EMPTY
    if dice.chance(0.15):
        mean = image.mean()
        image = (image - mean) * dice.number(0.75, 1.25) + mean
    if dice.chance(0.25):
        small = [max(4, round(side * dice.number(0.5, 1.0))) for side in image.shape[-2:]]
        coarse = functional.resize(image, small, interpolation=InterpolationMode.NEAREST)
        image = functional.resize(coarse, list(image.shape[-2:]), interpolation=InterpolationMode.BICUBIC)
    image = image.clamp(-1, 1)
    if dice.chance(0.3):
        share, gamma, inverted = (image - EMPTY) / 2, dice.number(0.7, 1.5), dice.chance(1 / 3)
        share = 1 - (1 - share) ** gamma if inverted else share**gamma
        image = 2 * share + EMPTY
    return image
