"""Synthetic lesions on healthy images: foreign patches, for label-free thresholds and tuning.

Source: foreign patch interpolation (Tan et al. 2020, arXiv 2011.04197): a patch of another patient's healthy image is
blended in. This family is neither Synomaly's training noise (shifted noise blobs) nor a phantom's or an inserted
lesion, so a threshold chosen on it has not seen the test's lesions.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from uadbench.core.seeding import numpy_generator
from uadbench.data.storage.batches import resize_image
from uadbench.data.storage.store import Item, Pixels

VERSION = "1"
# Semi-axes as a share of the body's width and height, and weight of the foreign patch.
AXES = (0.06, 0.2)
WEIGHT = (0.5, 1.0)


class ForeignPatches:
    """Healthy items of a store, each with one foreign patch; reads like a store.

    Args:
        store: Where the items are.
        items: Healthy items of at least one patient; with a single patient, other images of that patient are donors.
    """

    def __init__(self, store: Pixels, items: Sequence[Item]) -> None:
        self._store = store
        self._originals = {item.uid: item for item in items}
        self.channels = store.channels
        self.items = [item.model_copy(update={"lesion": True, "kind": "foreign patch"}) for item in items]
        self._cached: tuple[str, NDArray[np.float32], NDArray[np.uint8]] | None = None

    def image(self, item: Item) -> NDArray[np.float32]:
        """Returns the image with its patch, float32 (c, h, w)."""
        return self._make(item)[0]

    def body(self, item: Item) -> NDArray[np.bool_]:
        """Returns the body mask, bool (h, w)."""
        return self._store.body(item)

    def mask(self, item: Item) -> NDArray[np.uint8]:
        """Returns 1 on the patch, uint8 (h, w)."""
        return self._make(item)[1]

    def _make(self, item: Item) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        if self._cached is None or self._cached[0] != item.uid:
            self._cached = (item.uid, *self._blend(item))
        return self._cached[1], self._cached[2]

    def _blend(self, item: Item) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        rng = numpy_generator("foreign-patch", VERSION, item.uid)
        body = self._store.body(item)
        image = self._store.image(item)
        patch = _ellipse(body, rng)
        foreign = self._donor(item, rng)
        weight = rng.uniform(*WEIGHT)
        blended = np.where(patch, (1 - weight) * image + weight * foreign, image).astype(np.float32)
        return blended, patch.astype(np.uint8)

    def _donor(self, item: Item, rng: np.random.Generator) -> NDArray[np.float32]:
        others = [each for each in self._originals.values() if each.patient != item.patient]
        others = others or [each for each in self._originals.values() if each.uid != item.uid] or [item]
        donor = self._store.image(others[int(rng.integers(len(others)))])
        resized = resize_image(donor, (item.shape[1], item.shape[2]))[0].numpy()
        # Shifted, so that aligned anatomy does not hide the patch.
        shift = rng.integers(0, [item.shape[1], item.shape[2]])
        return np.roll(resized, (int(shift[0]), int(shift[1])), axis=(1, 2))


def _ellipse(body: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.bool_]:
    """Returns a turned ellipse centred in the body and cut to it."""
    rows, columns = np.nonzero(body)
    centre = int(rng.integers(len(rows)))
    extent = np.array([np.ptp(rows) + 1, np.ptp(columns) + 1])
    semi = np.maximum(rng.uniform(*AXES, 2) * extent, 1.5)
    angle = rng.uniform(0, np.pi)
    y, x = np.indices(body.shape, dtype=float)
    y, x = y - rows[centre], x - columns[centre]
    along, across = y * np.cos(angle) + x * np.sin(angle), x * np.cos(angle) - y * np.sin(angle)
    return ((along / semi[0]) ** 2 + (across / semi[1]) ** 2 <= 1) & body
