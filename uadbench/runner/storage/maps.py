"""The raw maps of a role as files: written in order, complete once uids.json exists."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from uadbench.core.files import atomic_text, atomic_write, reserve, writing

COMPLETE = "uids.json"


def begin_maps(folder: Path, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Creates an empty, memory-mapped maps.npy in a folder and marks the folder as incomplete.

    Raises:
        DataError: If the disk does not hold it.
    """
    with writing(folder.parent):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / COMPLETE).unlink(missing_ok=True)
    return mapped(folder / "maps.npy", np.float32, shape)


def mapped(file: Path, dtype: DTypeLike, shape: tuple[int, ...]) -> NDArray[Any]:
    """Creates a memory-mapped NPY file with its space allocated.

    Raises:
        DataError: If the disk does not hold it.
    """
    with writing(file.parent):
        array = np.lib.format.open_memmap(file, mode="w+", dtype=dtype, shape=shape)
    reserve(file)
    return array


def complete_maps(folder: Path, maps: NDArray[np.float32], uids: Sequence[str], scores: NDArray[Any] | None) -> None:
    """Writes the files that accompany maps; uids.json is last and marks the folder as complete.

    Args:
        folder: The folder passed to ``begin_maps``.
        maps: The array that it returned.
        uids: Identifier of each image, in the order of the maps.
        scores: The method's own image scores, (n,), if it has them.
    """
    if isinstance(maps, np.memmap):
        with writing(folder):
            maps.flush()
    if scores is not None:
        atomic_write(folder / "scores.npy", lambda part: np.save(part, scores))
    atomic_text(folder / COMPLETE, json.dumps(list(uids)))
