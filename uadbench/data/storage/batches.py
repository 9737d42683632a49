"""Batches for methods: items of a store resized to a method's ImageSpec, held in memory if they fit."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from hashlib import blake2b

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from uadbench.core.errors import DataError
from uadbench.core.roles import Role
from uadbench.core.types import ImageBatch, ImageSpec, TrainBatch
from uadbench.data.storage.store import Item, Pixels, Store

MEMORY_LIMIT = 2 * 1024**3
_OPAQUE = re.compile(r"u[0-9a-f]{16}")

HALF_MARGIN = 1e-5


class StoreBatches:
    """The items of one role as ``Batches``.

    Methods receive such objects, so these must not lead to masks of other items: without masks they hold no reference
    to lesion masks, with masks only to those of their own items.

    Args:
        store: Store of the items. Its identifiers may reveal what an image shows, so methods get hashes.
        items: The items.
        spec: Required shape.
        masks: Whether batches carry lesion masks (supervised methods, never test).

    Raises:
        DataError: If masks of test items are requested, or channels do not match.
    """

    def __init__(self, store: Pixels, items: Sequence[Item], spec: ImageSpec, *, masks: bool = False) -> None:
        if masks and any(item.role == Role.TEST for item in items):
            raise DataError("Only the scorer may read test masks.")
        if store.channels != spec.channels:
            raise DataError(f"The data has {store.channels} channels, the method was built for {spec.channels}.")
        self._images = store.without_truth() if isinstance(store, Store) else store
        self._items = list(items)
        self._spec = spec
        self._truth = [store.mask(item) == 1 for item in items] if masks else None
        self._resident: TrainBatch | None = None
        needed = len(items) * spec.height * spec.width * (spec.channels * 4 + 2)
        if items and needed <= MEMORY_LIMIT:
            self._resident = self._read(range(len(items)))
            self._truth = None

    @property
    def items(self) -> Sequence[Item]:
        """The items, in order: for the runner, which knows more about an image than a method."""
        return self._items

    @property
    def spec(self) -> ImageSpec:
        """Shape of the images."""
        return self._spec

    def __len__(self) -> int:
        return len(self._items)

    def sample(self, batch_size: int, generator: torch.Generator) -> TrainBatch:
        """Draws images uniformly with replacement."""
        return self._batch(torch.randint(len(self), (batch_size,), generator=generator).tolist())

    def epoch(self, batch_size: int) -> Iterator[TrainBatch]:
        """Iterates once over all images in stored order."""
        for start in range(0, len(self), batch_size):
            yield self._batch(range(start, min(start + batch_size, len(self))))

    def take(self, index: Sequence[int]) -> TrainBatch:
        """Returns the images at the given positions."""
        return self._batch(index)

    def images(self, index: Sequence[int]) -> ImageBatch:
        """Returns the images at the given positions, for prediction."""
        return self._batch(index).images

    def _batch(self, index: Sequence[int]) -> TrainBatch:
        if self._resident is None:
            return self._read(index)
        rows = list(index)
        mask = self._resident.mask
        return TrainBatch(self._resident.images.select(rows), None if mask is None else mask[rows])

    def _read(self, index: Sequence[int]) -> TrainBatch:
        items = [self._items[i] for i in index]
        images = resized_batch(
            [opaque_uid(item.uid) for item in items],
            (self._images.image(item) for item in items),
            (self._images.body(item) for item in items),
            self._spec,
        )
        size = (self._spec.height, self._spec.width)
        masks = None if self._truth is None else torch.cat([resize_mask(self._truth[i], size) for i in index])
        return TrainBatch(images, masks)


def opaque_uid(uid: str) -> str:
    """Returns an image's identifier for methods: 16 hex digits that reveal nothing about it.

    Applying it to a hash returns the hash, so repeated use changes nothing.
    """
    return uid if _OPAQUE.fullmatch(uid) else "u" + blake2b(uid.encode(), digest_size=8).hexdigest()


def lending_order(items: Sequence[Item]) -> list[int]:
    """Returns the positions of items in the order of their opaque identifiers, in which methods predict them.

    In the order of a store, images with lesions would be adjacent.
    """
    return sorted(range(len(items)), key=lambda place: opaque_uid(items[place].uid))


def resized_batch(
    uids: Sequence[str], images: Iterable[np.ndarray], bodies: Iterable[np.ndarray], spec: ImageSpec
) -> ImageBatch:
    """Returns images (c, h, w) and bodies (h, w) as a batch of a method's shape."""
    size = (spec.height, spec.width)
    return ImageBatch(
        tuple(uids),
        torch.cat([resize_image(image, size) for image in images]),
        torch.cat([resize_mask(body, size) for body in bodies]),
    )


def resize_image(image: np.ndarray, size: tuple[int, int]) -> Tensor:
    """Resizes (c, h, w) to (1, c, *size) bilinearly, with an antialiasing filter when shrinking."""
    tensor = torch.from_numpy(np.ascontiguousarray(image, dtype=np.float32))[None]
    if tensor.shape[-2:] == size:
        return tensor
    return functional.interpolate(tensor, size=size, mode="bilinear", antialias=True, align_corners=False)


def resize_mask(mask: np.ndarray, size: tuple[int, int]) -> Tensor:
    """Resizes a bool (h, w) to (1, 1, *size): True where at least half of the area is (docs/protocol.md).

    Exact halves occur, and float32 sums differ in their last bits between processors, so the threshold is slightly
    below.
    """
    return resize_image(mask[None].astype(np.float32), size) >= 0.5 - HALF_MARGIN
