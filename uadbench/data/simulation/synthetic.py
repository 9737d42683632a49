"""Synthetic lesions on healthy images: foreign patches, for label-free thresholds and tuning.

Source: foreign patch interpolation (Tan et al. 2020, arXiv 2011.04197): a patch of another patient's healthy image is
blended in. This family is neither Synomaly's training noise (shifted noise blobs) nor a phantom's or an inserted
lesion, so a threshold chosen on it has not seen the test lesions.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from uadbench.core.seeding import numpy_generator
from uadbench.data.simulation.made_lesions import MadeLesions
from uadbench.data.storage.store import Item, Pixels

VERSION = "1"
# Semi-axes as a share of the body's width and height, and weight of the foreign patch.
AXES = (0.06, 0.2)
WEIGHT = (0.5, 1.0)


class ForeignPatches(MadeLesions):
    """Healthy items of a store, each with one foreign patch; reads like a store.

    Args:
        store: Store of the items.
        items: Healthy items of at least one patient; with a single patient, other images of that patient are donors.
    """

    def __init__(self, store: Pixels, items: Sequence[Item]) -> None:
        made = [item.model_copy(update={"lesion": True, "kind": "foreign patch"}) for item in items]
        super().__init__(store, made, list({item.uid: item for item in items}.values()))

    def make(self, item: Item) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Returns the image with a patch of another blended in, and where that is."""
        rng = numpy_generator("foreign-patch", VERSION, item.uid)
        image, patch = self._store.image(item), _ellipse(self._store.body(item), rng)
        foreign, weight = self.donor(item, rng), rng.uniform(*WEIGHT)
        return np.where(patch, (1 - weight) * image + weight * foreign, image).astype(np.float32), patch


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
