"""Healthy items of a store with lesions that are made, read like a store."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from uadbench.data.storage.batches import resize_image
from uadbench.data.storage.store import Item, Pixels


class MadeLesions(ABC):
    """Healthy items of a store, each with one lesion; reads like a store.

    Args:
        store: Store of the items.
        items: What becomes of the healthy items, in their order.
        donors: Healthy items that other images may be taken from, in the order in which they are drawn.
    """

    def __init__(self, store: Pixels, items: Sequence[Item], donors: Sequence[Item]) -> None:
        self.channels = store.channels
        self.items = list(items)
        self._store = store
        self._donors = list(donors)
        self._cached: tuple[str, NDArray[np.float32], NDArray[np.uint8]] | None = None

    def image(self, item: Item) -> NDArray[np.float32]:
        """Returns the image with its lesion, float32 (c, h, w)."""
        return self._made(item)[0]

    def body(self, item: Item) -> NDArray[np.bool_]:
        """Returns the body mask, bool (h, w)."""
        return self._store.body(item)

    def mask(self, item: Item) -> NDArray[np.uint8]:
        """Returns 1 on the lesion, uint8 (h, w)."""
        return self._made(item)[1]

    @abstractmethod
    def make(self, item: Item) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Returns the image of an item with its lesion, (c, h, w), and where that is, (h, w)."""

    def donor(self, item: Item, rng: np.random.Generator) -> NDArray[np.float32]:
        """Returns an image of another patient if there is one, on this grid, (c, h, w).

        It is shifted at random, so that aligned anatomy does not hide what is taken from it.
        """
        others = [each for each in self._donors if each.patient != item.patient]
        others = others or [each for each in self._donors if each.uid != item.uid] or [item]
        donor = self._store.image(others[int(rng.integers(len(others)))])
        resized = resize_image(donor, (item.shape[1], item.shape[2]))[0].numpy()
        shift = rng.integers(0, [item.shape[1], item.shape[2]])
        return np.roll(resized, (int(shift[0]), int(shift[1])), axis=(1, 2))

    def _made(self, item: Item) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        if self._cached is None or self._cached[0] != item.uid:
            image, region = self.make(item)
            self._cached = (item.uid, image, region.astype(np.uint8))
        return self._cached[1], self._cached[2]
