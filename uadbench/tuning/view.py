"""A tuner's access to a store: everything except the test role."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from uadbench.core.errors import DataError
from uadbench.core.roles import Role
from uadbench.data.storage.store import Item, Store


@dataclass(frozen=True)
class DataHead:
    """Description of a study's data.

    Attributes:
        dataset: Registry name.
        version: Version of the recipe.
        source: Badge: phantom, semi-synthetic or real.
        fingerprint: Hash of the whole store.
        polarity: Sign of the expected lesion contrast.
    """

    dataset: str
    version: str
    source: str
    fingerprint: str
    polarity: int


class TuningView:
    """Some roles of a store. Items of other roles are not listed, and reading one is an error.

    An item is looked up by its uid, never by the offset that it carries, so that a forged item cannot reach other
    pixels.

    Args:
        store: The store.
        roles: Roles to open.

    Raises:
        DataError: If the test role is among them.
    """

    def __init__(self, store: Store, roles: Collection[Role]) -> None:
        if Role.TEST in roles:
            raise DataError("A tuner never reads the test role.", "Tune on calib (synthetic) or val.")
        head = store.manifest
        self.head = DataHead(head.dataset, head.version, head.source, head.fingerprint, head.polarity)
        self.channels = store.channels
        self.modality = head.modality
        self._store = store
        self._items = {item.uid: item for item in store.items if item.role in roles}

    def role(self, role: Role) -> list[Item]:
        """Returns the items of a role in stored order; none if the role is not accessible."""
        return [item for item in self._items.values() if item.role == role]

    def image(self, item: Item) -> NDArray[np.float32]:
        """Returns intensities, float32 (c, h, w)."""
        return self._store.image(self._open(item))

    def body(self, item: Item) -> NDArray[np.bool_]:
        """Returns the body mask, bool (h, w)."""
        return self._store.body(self._open(item))

    def mask(self, item: Item) -> NDArray[np.uint8]:
        """Returns the truth, uint8 (h, w)."""
        return self._store.mask(self._open(item))

    def _open(self, item: Item) -> Item:
        known = self._items.get(item.uid)
        if known is None:
            raise DataError(
                f"Item {item.uid} is not accessible to the tuner.",
                "Only train, calib, labelled and val are accessible.",
            )
        return known
