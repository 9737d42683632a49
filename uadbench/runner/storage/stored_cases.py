"""The cases of a role from stored maps, on the native grid of their masks."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from uadbench.core.errors import REMAKE, DataError
from uadbench.core.reading import read_json
from uadbench.data.reading.npy import map_npy
from uadbench.data.storage.store import Item, Pixels
from uadbench.evaluation.cases import CaseMaps


class StoredCases(Sequence[CaseMaps]):
    """The cases of a role, one at a time from stored maps; maps are resampled to the mask, never the reverse.

    ``maps.npy`` is (n, h, w) on the grid of a method, or flat: the concatenated native grids of all items, as
    ``uadbench score`` writes them.

    Args:
        store: The data.
        items: Items of the role in stored order.
        folder: The output of ``predict_items``.
        masks: Whether the cases include lesion masks, for the scorer only.

    Raises:
        DataError: If maps are missing or belong to other items.
    """

    def __init__(self, store: Pixels, items: Sequence[Item], folder: Path, *, masks: bool) -> None:
        self._store = store
        self._masks = masks
        try:
            uids = read_json(folder / "uids.json")
        except (OSError, ValueError) as error:
            raise DataError(f"The maps in {folder} are missing or damaged.", REMAKE) from error
        self._maps = map_npy(folder / "maps.npy", REMAKE)
        scores, reconstruction = folder / "scores.npy", folder / "reconstruction.npy"
        self._scores = map_npy(scores, REMAKE) if scores.exists() else None
        self._reconstruction = map_npy(reconstruction, REMAKE) if reconstruction.exists() else None
        if uids != [item.uid for item in items]:
            raise DataError(f"The maps in {folder} belong to other images.", REMAKE)
        sizes = [item.shape[1] * item.shape[2] for item in items]
        self._starts = np.concatenate([[0], np.cumsum(sizes)])
        for array, shapes in (
            (self._maps, {(3, len(items)), (1, int(self._starts[-1]))}),
            (self._scores, {(1, len(items))}),
            (self._reconstruction, {(4, len(items))}),
        ):
            if array is not None and (array.ndim, *array.shape[:1]) not in shapes:
                raise DataError(f"The number of maps in {folder} differs from the number of images.", REMAKE)
        self._cases = by_case(items)

    def __len__(self) -> int:
        return len(self._cases)

    @overload
    def __getitem__(self, index: int) -> CaseMaps: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[CaseMaps]: ...

    def __getitem__(self, index: int | slice) -> CaseMaps | Sequence[CaseMaps]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        rows = self._cases[index]
        items = [item for _, item in rows]
        where = [row for row, _ in rows]
        size = (items[0].shape[1], items[0].shape[2])
        spacing = items[0].spacing
        lesion_kinds = [item.kind for item in items if item.lesion]
        mask = np.stack([self._store.mask(item) for item in items]) if self._masks else None
        reconstruction = None if self._reconstruction is None else self._reconstruction[where].mean(axis=1)
        return CaseMaps(
            case=items[0].case,
            patient=items[0].patient,
            kind=lesion_kinds[0] if lesion_kinds else items[0].kind,
            cohort=items[0].cohort,
            maps=self._native(where, size),
            body=np.stack([self._store.body(item) for item in items]),
            mask=mask,
            spacing=None if spacing is None else (items[0].thickness or 1.0, *spacing),
            own_score=None if self._scores is None else float(self._scores[where].max()),
            image=np.stack([self._store.image(item).mean(axis=0) for item in items]),
            reconstruction=None if reconstruction is None else to_native(reconstruction, size),
            label_only=mask is not None and bool(lesion_kinds) and not (mask == 1).any(),
        )

    def _native(self, rows: list[int], size: tuple[int, int]) -> NDArray[np.float32]:
        """Returns the maps of some rows on the native grid."""
        if self._maps.ndim == 3:
            return to_native(self._maps[rows], size)
        flat = [self._maps[self._starts[row] : self._starts[row + 1]] for row in rows]
        return np.stack(flat).reshape(len(rows), *size).astype(np.float32)


def by_case(items: Sequence[Item]) -> list[list[tuple[int, Item]]]:
    """Returns the items of each case with their indices, in the order of cases and slices."""
    rows = sorted(enumerate(items), key=lambda row: (row[1].case, row[1].index))
    return [list(group) for _, group in groupby(rows, key=lambda row: row[1].case)]


def to_native(maps: NDArray[np.floating], size: tuple[int, int]) -> NDArray[np.float32]:
    """Resamples (n, h, w) bilinearly to (n, *size)."""
    if maps.shape[1:] == size:
        return np.array(maps, dtype=np.float32)
    tensor = torch.from_numpy(np.array(maps, dtype=np.float32))[:, None]
    return functional.interpolate(tensor, size=size, mode="bilinear", align_corners=False)[:, 0].numpy()
