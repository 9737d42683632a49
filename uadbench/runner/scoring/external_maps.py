"""Maps of an outside system: found by the names of cases, read as all images are, stored like those of a run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from uadbench.core.errors import DataError
from uadbench.data.preprocessing.intake import Intake, squared
from uadbench.data.reading.folder import visible
from uadbench.data.reading.formats import format_of, stem_of
from uadbench.data.reading.incoming import Incoming, discover, read_any_volume, read_stored
from uadbench.data.reading.npy import map_npy
from uadbench.data.reading.volume import axial, slices_last, slicing_axis
from uadbench.data.storage.store import Item
from uadbench.runner.storage.maps import begin_maps, complete_maps
from uadbench.runner.storage.stored_cases import by_case

SHOWN = 3


def match(folder: Path, items: Sequence[Item]) -> dict[str, Incoming]:
    """Returns the map of each case, or of each uid where slices have files of their own.

    Raises:
        DataError: Listing files without a case, and cases without a file.
    """
    if not items:
        raise DataError(f"The dataset has no '{folder.name}' patients.", f"Remove {folder}.")
    cases, uids = {item.case for item in items}, {item.uid for item in items}
    listed = visible(folder)
    images, _ = discover(folder, listed)
    known = {file for one in images for file in one.files}
    strange = [file.name for file in listed if file not in known]
    files: dict[str, Incoming] = {}
    for one in images:
        name = (
            one.name if one.kind == "dicom" else one.first.relative_to(folder).with_name(stem_of(one.first)).as_posix()
        )
        if name not in cases | uids:
            strange.append(one.place.name)
        elif name in files:
            raise DataError(f"{folder} holds two maps of {name}.", "Keep one of them.")
        else:
            files[name] = one
    if strange:
        raise DataError(
            f"{folder} holds {some(sorted(strange))}, which {_belong(strange)} to no case.",
            f"Name files CASE.npy or CASE.nii.gz, for example {items[0].case}.npy.",
        )
    missing = sorted({item.case for item in items if item.case not in files and item.uid not in files})
    if missing:
        raise DataError(
            f"{folder} lacks maps of {len(missing)} of {len(cases)} cases: {some(missing)}.",
            "Maps of all cases are required.",
        )
    return files


def store_maps(folder: Path, items: Sequence[Item], files: dict[str, Incoming], intake: Intake | None) -> None:
    """Writes the maps as one flat array on the native grids, items in stored order.

    Args:
        folder: Where to.
        items: The images.
        files: The map of each case or uid.
        intake: How volumes were sliced, for stores of anybody's images.

    Raises:
        DataError: If a map cannot be read, lies on another grid, or holds NaN or infinite values.
    """
    starts = np.concatenate([[0], np.cumsum([item.shape[1] * item.shape[2] for item in items])])
    flat = begin_maps(folder, (int(starts[-1]),))
    for members in by_case(items):
        case = members[0][1].case
        whole = _read(files[case], [item for _, item in members], intake) if case in files else None
        for position, (row, item) in enumerate(members):
            plane = _read(files[item.uid], [item], intake)[0] if whole is None else whole[position]
            flat[starts[row] : starts[row + 1]] = plane.ravel()
    complete_maps(folder, flat, [item.uid for item in items], None)


def _read(one: Incoming, items: Sequence[Item], intake: Intake | None) -> list[NDArray[np.float32]]:
    """Reads the map of a case as its slices, each (h, w)."""
    found = format_of(one.first)
    if found is not None and found.kind == "array":
        planes = _array(one.first, items)
    elif one.shape == "volume":
        planes = _volume(one, items, intake)
    else:
        planes = _picture(one, items)
    for plane in planes:
        if not np.isfinite(plane).all():
            raise DataError(f"{one.first} holds NaN or infinite values.", "Write a number at every pixel.")
    return planes


def _array(file: Path, items: Sequence[Item]) -> list[NDArray[np.float32]]:
    array = map_npy(file, "Save it as float32 with numpy.save.")
    _, h, w = items[0].shape
    wanted = (len(items), h, w)
    if array.shape != wanted and not (len(items) == 1 and array.shape == (h, w)):
        raise DataError(
            f"{file} has the shape {array.shape} instead of {wanted}.", "Give the map on the native grid of the data."
        )
    with np.errstate(over="ignore"):  # values beyond float32 become infinite and are refused
        return list(array.reshape(wanted).astype(np.float32))


def _picture(one: Incoming, items: Sequence[Item]) -> list[NDArray[np.float32]]:
    frame = read_stored(one)
    if frame.is_coloured:
        raise DataError(f"{one.first} is in colour.", "Save the raw map, for example as a float32 TIFF.")
    _, h, w = items[0].shape
    plane = frame.grey()
    if len(items) > 1 or plane.shape != (h, w):
        raise DataError(
            f"{one.first} has the shape {plane.shape} instead of {(len(items), h, w)}.",
            "Give the map on the native grid of the data.",
        )
    return [plane]


def _volume(one: Incoming, items: Sequence[Item], intake: Intake | None) -> list[NDArray[np.float32]]:
    volume = read_any_volume(one)
    axis = 2 if intake is None else slicing_axis(volume.spacing, intake.plane)
    data = slices_last(volume.data, axis)
    across, down = (volume.spacing[n] for n in range(3) if n != axis)
    first, last = items[0].index, items[-1].index
    planes = [np.ascontiguousarray(axial(data, item.index)) for item in items] if data.shape[2] > last else []
    if planes and intake is not None and intake.keep_aspect:
        planes = [squared(plane, (down, across), float(plane.min()))[0] for plane in planes]
    _, h, w = items[0].shape
    if not planes or planes[0].shape != (h, w):
        raise DataError(
            f"{one.place} has the grid {data.shape}, its slices counted last, instead of ({w}, {h}, more than {last}).",
            "Give the map on the grid of the original volume.",
        )
    spacing = items[0].spacing
    if spacing is not None and last > first and not np.allclose((down, across), spacing, rtol=0.01):
        raise DataError(
            f"{one.place} has {(down, across)} mm per pixel instead of {spacing}.",
            "Save the map with the affine of the original volume.",
        )
    return planes


def some(names: Sequence[str]) -> str:
    """Returns the first names, and how many more there are."""
    rest = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {rest} more" if rest > 0 else "")


def _belong(names: Sequence[str]) -> str:
    return "belongs" if len(names) == 1 else "belong"
