"""Reading DICOM: slices as a volume, corrected for gantry tilt, and frames; geometry and pixels, never identity."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from nibabel.orientations import apply_orientation, axcodes2ornt, inv_ornt_aff, io_orientation, ornt_transform
from numpy.typing import NDArray
from scipy import ndimage

from uadbench.core.errors import DataError
from uadbench.data.reading.dicom_header import Placed, frame_spacing, header, placed
from uadbench.data.reading.dicom_pixels import decode, value_of
from uadbench.data.reading.folder import files as files_in
from uadbench.data.reading.masks import read_mask
from uadbench.data.reading.nifti import MAX_VOXELS, Volume
from uadbench.data.reading.raster import Frame

TILT = 0.5
"""Pixels that a slice may deviate from the normal of the first before the series counts as tilted."""


@dataclass(frozen=True)
class Geometry:
    """Relative positions of the slices of a series.

    Attributes:
        order: Indices of the slices from the first position to the last.
        affine: (column, row, slice) to millimetres, RAS+, (4, 4).
        shape: (rows, columns) of a slice.
        modality: What the series says, e.g. "CT".
        drift: Pixels (row, column) by which each slice, in order, deviates from the normal; None without gantry tilt.
    """

    order: tuple[int, ...]
    affine: NDArray[np.float64]
    shape: tuple[int, int]
    modality: str
    drift: NDArray[np.float64] | None = None

    def stack(self, planes: Sequence[NDArray[Any]]) -> tuple[NDArray[Any], NDArray[np.float64]]:
        """Stacks one array per slice, each (rows, columns), to (x, y, z) in RAS order; also returns the affine."""
        ordered, affine = [planes[i] for i in self.order], self.affine
        if self.drift is not None:
            ordered, affine = _upright(ordered, self.drift, affine)
        data = np.stack(ordered, -1).transpose(1, 0, 2)
        turn = io_orientation(affine)
        return np.ascontiguousarray(apply_orientation(data, turn)), affine @ inv_ornt_aff(turn, data.shape)

    def unstack(self, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Undoes ``stack`` for a mask, (x, y, z) in RAS order: (slices, rows, columns) in the order of the files."""
        back = ornt_transform(axcodes2ornt("RAS"), io_orientation(self.affine))
        ordered = apply_orientation(mask, back).transpose(2, 1, 0)
        planes = np.empty((len(self.order), *self.shape), dtype=bool)
        for place, (index, plane) in enumerate(zip(self.order, ordered, strict=True)):
            planes[index] = plane if self.drift is None else _tilted(plane, self.drift, place, self.shape)
        return planes


def read_series(folder: Path, files: Sequence[Path], *, one_series: bool = True) -> tuple[Volume, str]:
    """Reads the slices of one series, sorted by position, in RAS orientation and rescaled (HU for CT).

    Args:
        folder: Folder, for messages.
        files: Its DICOM files, or one enhanced file.
        one_series: Whether all headers must name the same series; anonymised data may have lost it.

    Returns:
        The volume, and the modality, e.g. "CT".

    Raises:
        DataError: If a file is damaged, series are mixed, or slices are missing or duplicated.
    """
    geometry = _geometry(folder, files, one_series)
    planes = [frame for path in files for frame in _grey(path)]
    if len(planes) != len(geometry.order):
        raise DataError(f"{folder} has {len(planes)} slices of pixels for {len(geometry.order)} positions.", "Export.")
    data, affine = geometry.stack(planes)
    steps = np.linalg.norm(affine[:3, :3], axis=0)
    spacing = (float(steps[0]), float(steps[1]), float(steps[2]))
    notes = ()
    if geometry.drift is not None:
        off = float(np.abs(geometry.drift * np.linalg.norm(geometry.affine[:3, :2], axis=0)[::-1]).max())
        notes = (f"gantry tilt taken out by resampling (slices were off by up to {off:.1f} mm)",)
    volume = Volume(folder, data.astype(np.float32, copy=False), affine, spacing, geometry.modality, notes)
    return volume, geometry.modality


def read_geometry(folder: Path, files: Sequence[Path]) -> Geometry:
    """Returns how the slices of a volume lie, by their headers alone.

    Args:
        folder: Named in messages.
        files: Its DICOM files, or one enhanced file.

    Raises:
        DataError: As ``read_series``.
    """
    return _geometry(folder, files, one_series=False)


def read_dicom_frame(path: Path, frame: int = 0) -> Frame:
    """Reads one frame of a file without slices: US, DX, CR, MG and the like.

    Raises:
        DataError: If it cannot be decoded or has no such frame.
    """
    head, pixels = header(path), decode(path)
    if frame >= len(pixels.frames):
        raise DataError(f"{path} has {len(pixels.frames)} frames, fewer than its header states.", "Export it again.")
    one = pixels.frames[frame]
    return Frame(
        path,
        one[None] if one.ndim == 2 else np.ascontiguousarray(one.transpose(2, 0, 1)),
        pixels.bits,
        str(value_of(head, "Modality") or ""),
        frame_spacing(head),
    )


def read_drawn(folder: Path, files: Sequence[Path], masks: Path, labels: Sequence[int] = ()) -> NDArray[np.bool_]:
    """Reads a mask stored as PNG images, one per slice, on the grid of ``read_series``.

    Slices and PNG images are matched in the order of their names; the headers give the slice positions.

    Args:
        folder: Folder, for messages.
        files: The DICOM files of the series.
        masks: Folder of the PNG images.
        labels: Values of the mask; empty for binary masks.

    Raises:
        DataError: If slices and PNG images do not match, or a file cannot be used.
    """
    slices, drawn = sorted(files, key=_by_numbers), sorted(files_in(masks, "*.png"), key=_by_numbers)
    if len(slices) < 2 or len(slices) != len(drawn):
        raise DataError(
            f"{folder} holds {len(slices)} slices and {masks} {len(drawn)} masks.", "Download the patient again."
        )
    geometry = _geometry(folder, slices, one_series=False)
    return geometry.stack([read_mask(path, geometry.shape, labels) for path in drawn])[0]


def _by_numbers(path: Path) -> list[tuple[int, str]]:
    """Sorts by the numbers in a name, however many digits they have."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", path.name)]


def _grey(path: Path) -> NDArray[np.float32]:
    frames = decode(path).frames
    if frames.ndim != 3:
        raise DataError(f"{path} is in colour.", "Export grey slices.")
    return frames


def _geometry(folder: Path, files: Sequence[Path], one_series: bool) -> Geometry:
    heads = [header(path) for path in files]
    series = {str(value_of(head, "SeriesInstanceUID") or "") for head in heads}
    if one_series and len(series) > 1:
        raise DataError(f"{folder} mixes several DICOM series.", "Keep one series per folder.")
    slices = [(path, place) for path, head in zip(files, heads, strict=True) for place in placed(path, head)]
    first = slices[0][1]
    for path, place in slices:
        turned = np.abs(np.concatenate([place.rows - first.rows, place.columns - first.columns])).max()
        if place.size != first.size or turned > 1e-3:
            raise DataError(f"{path} has another size or orientation than {files[0].name}.", "Keep one series.")
        if np.abs(np.subtract(place.spacing, first.spacing)).max() > 1e-3 * max(first.spacing):
            raise DataError(f"{path} has another PixelSpacing than {files[0].name}.", "Keep one series.")
    if not 0 < first.size[0] * first.size[1] * len(slices) <= MAX_VOXELS:
        raise DataError(f"{files[0]} has a header with an impossible size.", "Export the series again.")
    return _ordered(folder, slices, str(value_of(heads[0], "Modality") or ""))


def _ordered(folder: Path, slices: Sequence[tuple[Path, Placed]], modality: str) -> Geometry:
    first = slices[0][1]
    rows, columns, (dy, dx) = first.rows, first.columns, first.spacing
    normal = np.cross(rows, columns)
    depths = np.array([place.position @ normal for _, place in slices])
    order = np.argsort(depths)
    gaps = np.diff(depths[order])
    if len(gaps) and (gaps.min() < 1e-3 or gaps.max() > 1.5 * float(np.median(gaps))):
        what = "two slices at one position" if gaps.min() < 1e-3 else "missing slices"
        at = int(np.argmin(gaps) if gaps.min() < 1e-3 else np.argmax(gaps))
        raise DataError(f"{folder} has {what} after {slices[order[at]][0].name}.", "Export the series again.")
    dz = float(np.median(gaps)) if len(gaps) else first.thickness
    if dz <= 0:
        raise DataError(f"{slices[0][0]} has a spacing of 0.", "Correct its header.")
    origin = slices[order[0]][1].position
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1], affine[:3, 2] = rows * dx, columns * dy, normal * dz
    affine[:3, 3] = origin
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine  # DICOM axes point left and back, RAS axes right and front
    moved = np.array([slices[i][1].position - origin for i in order])
    drift = np.stack([moved @ columns / dy, moved @ rows / dx], axis=1)
    tilted = float(np.abs(drift).max()) > TILT
    return Geometry(tuple(int(i) for i in order), affine, first.size, modality, drift if tilted else None)


def _upright(
    planes: Sequence[NDArray[Any]], drift: NDArray[np.float64], affine: NDArray[np.float64]
) -> tuple[list[NDArray[Any]], NDArray[np.float64]]:
    """Shifts each slice in its plane to its true position, on a grid whose third axis is the normal.

    The grid is enlarged so that nothing is cut off; uncovered voxels get the minimum.
    """
    before, after = _margins(drift)
    least = min(plane.min() for plane in planes)
    widths = [(int(before[0]), int(after[0])), (int(before[1]), int(after[1]))]
    moved: list[NDArray[Any]] = []
    for plane, offset in zip(planes, drift, strict=True):
        wide = np.pad(plane, widths, constant_values=least)
        flags = wide.dtype == np.bool_
        shifted = ndimage.shift(
            wide.astype(np.float32), offset, order=1, mode="constant", cval=float(least), prefilter=False
        )
        moved.append(shifted >= 0.5 if flags else shifted)
    wider = affine.copy()
    wider[:3, 3] -= affine[:3, 0] * before[1] + affine[:3, 1] * before[0]
    return moved, wider


def _tilted(
    plane: NDArray[np.bool_], drift: NDArray[np.float64], place: int, shape: tuple[int, int]
) -> NDArray[np.bool_]:
    """Undoes ``_upright`` for the mask of one slice."""
    before, _ = _margins(drift)
    moved = ndimage.shift(plane.astype(np.float32), -drift[place], order=1, mode="constant", cval=0.0, prefilter=False)
    return (moved >= 0.5)[before[0] : before[0] + shape[0], before[1] : before[1] + shape[1]]


def _margins(drift: NDArray[np.float64]) -> tuple[NDArray[np.int_], NDArray[np.int_]]:
    """Returns the pixels (row, column) by which slices are widened before and after, so that nothing is cut off."""
    return (
        np.ceil(np.maximum(-drift.min(0), 0)).astype(int),
        np.ceil(np.maximum(drift.max(0), 0)).astype(int),
    )
