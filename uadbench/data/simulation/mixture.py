"""The mixture of synthetic lesions for label-free tuning: every family on the same number of images.

Frozen: families, their settings and this rule were committed before any test metric of the study of label-free choice
was read (docs/explanation/choice.md). A change is a new version, and studies begun with another are refused.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from uadbench.core.seeding import derive_seed, numpy_generator
from uadbench.data.simulation.families import FAMILIES, Material
from uadbench.data.simulation.made_lesions import MadeLesions
from uadbench.data.storage.store import Item, Pixels

VERSION = "1"
MIXTURE = "mixture"


class SyntheticLesions(MadeLesions):
    """Healthy items of a store, each with one synthetic lesion; reads like a store.

    Items are ordered by a hash of their uids and assigned to the families in turn, so that each family has the same
    number of images (+-1), and the assignment is fixed for a given set of items.

    Args:
        store: Store of the items.
        items: Healthy items.
        polarity: Sign of expected lesions if known: shifts have only this sign; 0: both.
        only: A single family instead of all.
    """

    def __init__(self, store: Pixels, items: Sequence[Item], polarity: int = 0, only: str | None = None) -> None:
        self._signs = (polarity,) if polarity else (-1, 1)
        names = [only] if only else list(FAMILIES)
        order = sorted(items, key=lambda item: derive_seed("lesion-family", VERSION, item.uid))
        self.family = {item.uid: names[place % len(names)] for place, item in enumerate(order)}
        made = [
            item.model_copy(update={"lesion": True, "kind": f"synthetic {self.family[item.uid]}"}) for item in items
        ]
        super().__init__(store, made, sorted(items, key=lambda item: item.uid))

    def make(self, item: Item) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Returns the image with a lesion of the item's family, and where that is."""
        name = self.family[item.uid]
        rng = numpy_generator("synthetic-lesion", VERSION, name, item.uid)
        image, body = self._store.image(item), self._store.body(item)
        return FAMILIES[name](Material(image, body, self.donor(item, rng), self._signs, rng))
