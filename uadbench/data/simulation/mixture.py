"""The mixture of synthetic lesions that label-free tuning is judged on: every family on the same number of images.

Frozen: families, their settings and this rule were committed before any test metric of the study of label-free choice
was read (docs/explanation/choice.md). A change is a new version, and studies begun with another are refused.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from uadbench.core.seeding import derive_seed, numpy_generator
from uadbench.data.simulation.families import FAMILIES, Material
from uadbench.data.storage.batches import resize_image
from uadbench.data.storage.store import Item, Pixels

VERSION = "1"
MIXTURE = "mixture"


class SyntheticLesions:
    """Healthy items of a store, each with one synthetic lesion; reads like a store.

    Items are put into an order by a hash of their uids and take the families in turn, so that each family has the same
    number of images to within one, and an image keeps its family for a given set of items.

    Args:
        store: Where the items are.
        items: Healthy items.
        polarity: Sign of expected lesions where it is told: shifts have it alone; 0: both.
        only: One family in place of all.
    """

    def __init__(self, store: Pixels, items: Sequence[Item], polarity: int = 0, only: str | None = None) -> None:
        self._store = store
        self._healthy = sorted(items, key=lambda item: item.uid)
        self._signs = (polarity,) if polarity else (-1, 1)
        names = [only] if only else list(FAMILIES)
        order = sorted(items, key=lambda item: derive_seed("lesion-family", VERSION, item.uid))
        self.family = {item.uid: names[place % len(names)] for place, item in enumerate(order)}
        self.channels = store.channels
        self.items = [
            item.model_copy(update={"lesion": True, "kind": f"synthetic {self.family[item.uid]}"}) for item in items
        ]
        self._cached: tuple[str, NDArray[np.float32], NDArray[np.uint8]] | None = None

    def image(self, item: Item) -> NDArray[np.float32]:
        """Returns the image with its lesion, float32 (c, h, w)."""
        return self._make(item)[0]

    def body(self, item: Item) -> NDArray[np.bool_]:
        """Returns the body mask, bool (h, w)."""
        return self._store.body(item)

    def mask(self, item: Item) -> NDArray[np.uint8]:
        """Returns 1 on the lesion, uint8 (h, w)."""
        return self._make(item)[1]

    def _make(self, item: Item) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        if self._cached is None or self._cached[0] != item.uid:
            name = self.family[item.uid]
            rng = numpy_generator("synthetic-lesion", VERSION, name, item.uid)
            material = Material(
                self._store.image(item), self._store.body(item), self._donor(item, rng), self._signs, rng
            )
            image, region = FAMILIES[name](material)
            self._cached = (item.uid, image, region.astype(np.uint8))
        return self._cached[1], self._cached[2]

    def _donor(self, item: Item, rng: np.random.Generator) -> NDArray[np.float32]:
        """Returns an image of another patient where there is one, on this grid, moved at random."""
        others = [each for each in self._healthy if each.patient != item.patient]
        others = others or [each for each in self._healthy if each.uid != item.uid] or [item]
        donor = self._store.image(others[int(rng.integers(len(others)))])
        resized = resize_image(donor, (item.shape[1], item.shape[2]))[0].numpy()
        moved = rng.integers(0, [item.shape[1], item.shape[2]])
        return np.roll(resized, (int(moved[0]), int(moved[1])), axis=(1, 2))
