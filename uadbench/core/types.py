"""Types exchanged between data, methods and evaluation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from uadbench.core.errors import UserError


@dataclass(frozen=True, slots=True)
class ImageSpec:
    """Shape and scale of the images that a method is built for.

    Attributes:
        channels: Number of channels.
        height: Rows in pixels.
        width: Columns in pixels.
        polarity: Sign of the expected lesion contrast (+1 bright, -1 dark, 0 unknown): a prior that the
            supervision ledger counts.
    """

    channels: int
    height: int
    width: int
    polarity: int = 0

    def check(self, images: ImageBatch) -> None:
        """Checks that images have this shape.

        Raises:
            UserError: If they do not.
        """
        wanted, given = (self.channels, self.height, self.width), tuple(images.image.shape[1:])
        if given != wanted:
            raise UserError(
                f"Images of shape {given} were passed to a model for {wanted}.",
                "Resize them, or train a model for their shape.",
            )


@dataclass(frozen=True, slots=True)
class ImageBatch:
    """Everything that a method receives about images.

    Attributes:
        uid: One opaque identifier per image, length b.
        image: Intensities, nominally in [-1, 1], float32 of shape (b, c, h, w).
        body: True inside the body, bool of shape (b, 1, h, w).
    """

    uid: tuple[str, ...]
    image: Tensor
    body: Tensor

    def __len__(self) -> int:
        return len(self.uid)

    def to(self, device: torch.device | str) -> ImageBatch:
        """Returns the images on another device."""
        return ImageBatch(self.uid, self.image.to(device), self.body.to(device))

    def select(self, index: Sequence[int]) -> ImageBatch:
        """Returns the images at the given positions."""
        rows = list(index)
        return ImageBatch(tuple(self.uid[i] for i in rows), self.image[rows], self.body[rows])


@dataclass(frozen=True, slots=True)
class TrainBatch:
    """Images to learn from.

    Attributes:
        images: The images.
        mask: True on lesions, bool of shape (b, 1, h, w); None unless the method's supervision is MASKS.
    """

    images: ImageBatch
    mask: Tensor | None = None

    def to(self, device: torch.device | str) -> TrainBatch:
        """Returns the batch on another device."""
        return TrainBatch(self.images.to(device), None if self.mask is None else self.mask.to(device))


@dataclass(frozen=True, slots=True)
class Prediction:
    """Raw prediction of a method: larger is more anomalous, nothing is rescaled.

    Attributes:
        anomaly_map: float32 of shape (b, 1, h, w).
        score: The method's own image score, float32 of shape (b,).
        reconstruction: The healthy counterpart in [-1, 1], shape (b, c, h, w), if the method makes one.
    """

    anomaly_map: Tensor
    score: Tensor
    reconstruction: Tensor | None = None


class Batches(Protocol):
    """The images of one role, resized to a method's ImageSpec."""

    @property
    def spec(self) -> ImageSpec:
        """Shape of the images."""
        ...

    def __len__(self) -> int:
        """Number of images."""
        ...

    def sample(self, batch_size: int, generator: torch.Generator) -> TrainBatch:
        """Draws images uniformly with replacement; the same generator state gives the same batch."""
        ...

    def epoch(self, batch_size: int) -> Iterator[TrainBatch]:
        """Iterates once over all images in stored order; the last batch may be smaller."""
        ...
