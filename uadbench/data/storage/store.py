"""The store: memory-mapped arrays plus a JSON manifest. ``manifest`` documents the layout, ``writer`` writes it."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from uadbench.core.errors import DataError
from uadbench.core.roles import Role
from uadbench.data.storage.manifest import FORMAT, IGNORE, UNHASHED, Item, StoreManifest, fingerprint
from uadbench.data.storage.writer import StoreWriter

__all__ = ["FORMAT", "IGNORE", "Images", "Item", "Pixels", "Store", "StoreManifest", "StoreWriter", "fingerprint"]


class Pixels(Protocol):
    """Read access to items: a store, or a store with synthetic lesions."""

    channels: int

    def image(self, item: Item) -> NDArray[np.float32]:
        """Returns intensities, float32 (c, h, w)."""
        ...

    def body(self, item: Item) -> NDArray[np.bool_]:
        """Returns the body mask, bool (h, w)."""
        ...

    def mask(self, item: Item) -> NDArray[np.uint8]:
        """Returns the truth, uint8 (h, w)."""
        ...


class Images:
    """The images and body masks of a store without lesion masks: everything that a method may receive.

    Args:
        image: All intensities, flat.
        body: All body masks, flat.
        channels: Channels of each image.
    """

    def __init__(self, image: NDArray[Any], body: NDArray[Any], channels: int) -> None:
        self._image = image
        self._body = body
        self.channels = channels

    def image(self, item: Item) -> NDArray[np.float32]:
        """Returns intensities, float32 (c, h, w)."""
        c, h, w = item.shape
        start = item.offset * c
        return self._image[start : start + c * h * w].reshape(c, h, w).astype(np.float32)

    def body(self, item: Item) -> NDArray[np.bool_]:
        """Returns the body mask, bool (h, w)."""
        return _plane(self._body, item) == 1


class Store:
    """A store opened for reading.

    Args:
        path: The folder.

    Raises:
        DataError: If it is missing, damaged, or of another format.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self.manifest = StoreManifest.model_validate_json((path / "manifest.json").read_bytes())
        except FileNotFoundError as error:
            raise DataError(
                f"{path} is not a prepared dataset (no manifest.json).", "Run: uadbench prepare ..."
            ) from error
        except ValidationError as error:
            raise DataError(f"{path}/manifest.json cannot be read.", "Prepare the data again.") from error
        head = self.manifest.model_dump(mode="json", exclude=UNHASHED)
        if fingerprint(head, self.manifest.items) != self.manifest.fingerprint:
            raise DataError(f"{path}/manifest.json does not match its fingerprint.", "Prepare the data again.")
        self.items = self.manifest.items
        self.channels: int = self.items[0].shape[0]
        pixels = sum(item.shape[1] * item.shape[2] for item in self.items)
        self._image = self._map("image", np.dtype("<f2"), pixels * self.channels)
        self._body = self._map("body", np.dtype(np.uint8), pixels)
        self._mask = self._map("mask", np.dtype(np.uint8), pixels)
        self._by_uid = {item.uid: item for item in self.items}

    def _map(self, name: str, dtype: np.dtype[Any], count: int) -> NDArray[Any]:
        file = self.path / f"{name}.bin"
        size = file.stat().st_size if file.exists() else 0
        if size != count * dtype.itemsize:
            raise DataError(f"{file} has {size} bytes instead of {count * dtype.itemsize}.", "Prepare the data again.")
        return np.memmap(file, dtype=dtype, mode="r")

    def role(self, role: Role) -> list[Item]:
        """Returns the items of a role in stored order."""
        return [item for item in self.items if item.role == role]

    def item(self, uid: str) -> Item:
        """Returns the item with a uid."""
        return self._by_uid[uid]

    def without_truth(self) -> Images:
        """Returns only the images and body masks."""
        return Images(self._image, self._body, self.channels)

    def image(self, item: Item) -> NDArray[np.float32]:
        """Returns intensities, float32 (c, h, w)."""
        return self.without_truth().image(item)

    def body(self, item: Item) -> NDArray[np.bool_]:
        """Returns the body mask, bool (h, w)."""
        return self.without_truth().body(item)

    def mask(self, item: Item) -> NDArray[np.uint8]:
        """Returns the truth: 0, 1 or IGNORE, uint8 (h, w). Only for the scorer and supervised training."""
        return _plane(self._mask, item)

    def verify(self) -> None:
        """Checks the pixel hash of every item.

        Raises:
            DataError: Naming the first item whose bytes changed.
        """
        for item in self.items:
            c, h, w = item.shape
            digest = hashlib.sha256(self._image[item.offset * c : (item.offset + h * w) * c].tobytes())
            digest.update(_plane(self._body, item).tobytes())
            digest.update(_plane(self._mask, item).tobytes())
            if digest.hexdigest() != item.sha256:
                raise DataError(f"{self.path}: the pixels of {item.uid} changed.", "Prepare the data again.")


def _plane(array: NDArray[Any], item: Item) -> NDArray[Any]:
    _, h, w = item.shape
    return array[item.offset : item.offset + h * w].reshape(h, w)
