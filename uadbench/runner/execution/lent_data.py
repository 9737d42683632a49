"""A copy of a method's input: images and body masks, without lesion masks, patients, cases or roles."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from uadbench.core.errors import DataError
from uadbench.core.roles import Role
from uadbench.data.storage.batches import opaque_uid
from uadbench.data.storage.store import Item, Pixels, Store

_INDEX = "index.json"


class _Index(BaseModel):
    """The images in a copy.

    Attributes:
        channels: Channels of each image.
        dtype: Type of the intensities, as in the source: float16 in a store, float32 for generated images.
        masks: Whether lesion masks are included.
        uids: One opaque identifier per image.
        shapes: (channels, height, width) of each.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    channels: int
    dtype: Literal["<f2", "<f4"]
    masks: bool
    uids: list[str]
    shapes: list[tuple[int, int, int]]


def lend(pixels: Pixels, items: Sequence[Item], folder: Path, *, masks: bool = False) -> None:
    """Writes a copy of some items.

    Args:
        pixels: Source of the pixels.
        items: Items to copy, in this order.
        folder: Output folder of the copy.
        masks: Whether lesion masks are included: only for the labelled images of a supervised method.

    Raises:
        DataError: If masks of test items are requested.
    """
    if masks and any(item.role == Role.TEST for item in items):
        raise DataError("Only the scorer may read test masks.")
    folder.mkdir(parents=True)
    index = _Index(
        channels=pixels.channels,
        dtype="<f2" if isinstance(pixels, Store) else "<f4",
        masks=masks,
        uids=[opaque_uid(item.uid) for item in items],
        shapes=[item.shape for item in items],
    )
    with (folder / "image.bin").open("wb") as images, (folder / "body.bin").open("wb") as bodies:
        for item in items:
            images.write(pixels.image(item).astype(index.dtype).tobytes())
            bodies.write(pixels.body(item).astype(np.uint8).tobytes())
    if masks:
        with (folder / "mask.bin").open("wb") as file:
            for item in items:
                file.write(pixels.mask(item).tobytes())
    (folder / _INDEX).write_text(index.model_dump_json())


class LentData:
    """A copy opened for reading like a store, with lesion masks only if they were included.

    Args:
        folder: What ``lend`` wrote.
    """

    def __init__(self, folder: Path) -> None:
        index = _Index.model_validate_json((folder / _INDEX).read_bytes())
        self.channels = index.channels
        self._image = _flat(folder / "image.bin", index.dtype)
        self._body = _flat(folder / "body.bin", "u1")
        self._mask = _flat(folder / "mask.bin", "u1") if index.masks else None
        self.items: list[Item] = []
        offset = 0
        for uid, shape in zip(index.uids, index.shapes, strict=True):
            # Only the identifier and the shape of an image are known here.
            unknown: dict[str, Any] = {"case": "", "patient": "", "cohort": "", "lesion": False, "sha256": ""}
            self.items.append(Item(uid=uid, role=Role.TRAIN, shape=shape, offset=offset, **unknown))
            offset += shape[1] * shape[2]

    def image(self, item: Item) -> NDArray[np.float32]:
        """Returns intensities, float32 (c, h, w)."""
        c, h, w = item.shape
        start = item.offset * c
        return self._image[start : start + c * h * w].reshape(c, h, w).astype(np.float32)

    def body(self, item: Item) -> NDArray[np.bool_]:
        """Returns the body mask, bool (h, w)."""
        return self._plane(self._body, item) == 1

    def mask(self, item: Item) -> NDArray[np.uint8]:
        """Returns the truth, uint8 (h, w).

        Raises:
            DataError: If the copy does not include it.
        """
        if self._mask is None:
            raise DataError("The lesion masks of these images are not available here.")
        return self._plane(self._mask, item)

    def _plane(self, array: NDArray[Any], item: Item) -> NDArray[Any]:
        _, h, w = item.shape
        return array[item.offset : item.offset + h * w].reshape(h, w)


def _flat(file: Path, dtype: str) -> NDArray[Any]:
    if file.stat().st_size == 0:
        return np.zeros(0, dtype)
    return np.memmap(file, dtype=dtype, mode="r")
