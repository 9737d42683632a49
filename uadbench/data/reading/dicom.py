"""Reading a DICOM series as a volume: geometry and pixels, never who it is."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from nibabel.orientations import apply_orientation, inv_ornt_aff, io_orientation
from numpy.typing import NDArray
from pydicom.errors import InvalidDicomError

from uadbench.core.errors import DataError
from uadbench.data.reading.folder import files as files_in
from uadbench.data.reading.nifti import MAX_VOXELS, Volume
from uadbench.data.reading.raster import read_mask

GEOMETRY = ("SeriesInstanceUID", "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "Rows", "Columns")


@dataclass(frozen=True)
class Geometry:
    """How the slices of a series lie to one another.

    Attributes:
        order: Indices of the files from the first position to the last.
        shape: (rows, columns) of a slice.
        affine: (column, row, slice) to millimetres, RAS+, (4, 4).
        modality: What the series says, e.g. "CT".
    """

    order: tuple[int, ...]
    shape: tuple[int, int]
    affine: NDArray[np.float64]
    modality: str

    def stack(self, planes: Sequence[NDArray[Any]]) -> tuple[NDArray[Any], NDArray[np.float64]]:
        """Stacks what belongs to the files, each (rows, columns), to (x, y, z) in RAS order; with its affine."""
        data = np.stack([planes[i] for i in self.order], -1).transpose(1, 0, 2)
        turn = io_orientation(self.affine)
        return np.ascontiguousarray(apply_orientation(data, turn)), self.affine @ inv_ornt_aff(turn, data.shape)


def read_series(folder: Path, files: Sequence[Path], *, one_series: bool = True) -> tuple[Volume, str]:
    """Reads the slices of one series, sorted by position, in RAS orientation and rescaled (HU for CT).

    Args:
        folder: Named in messages.
        files: Its DICOM files.
        one_series: Whether all must say that they are of one series; anonymised data may have lost that.

    Returns:
        The volume, and the modality, e.g. "CT".

    Raises:
        DataError: If a file is damaged, series are mixed, or slices are missing or double.
    """
    geometry = _geometry(folder, files, one_series)
    data, affine = geometry.stack([_pixels(path) for path in files])
    steps = np.linalg.norm(affine[:3, :3], axis=0)
    spacing = (float(steps[0]), float(steps[1]), float(steps[2]))
    return Volume(folder, data.astype(np.float32, copy=False), affine, spacing), geometry.modality


def read_drawn(folder: Path, files: Sequence[Path], masks: Path) -> NDArray[np.bool_]:
    """Reads a mask that was drawn as PNG pictures, one a slice, on the grid that ``read_series`` gives.

    Slices and pictures belong together in the order of their names; where a slice lies, its header says.

    Args:
        folder: Named in messages.
        files: The DICOM files of the series.
        masks: Folder of the pictures.

    Raises:
        DataError: If slices and pictures do not fit each other, or a file cannot be used.
    """
    slices, drawn = sorted(files, key=_by_numbers), sorted(files_in(masks, "*.png"), key=_by_numbers)
    if len(slices) < 2 or len(slices) != len(drawn):
        raise DataError(
            f"{folder} holds {len(slices)} slices and {masks} {len(drawn)} masks.", "Download the patient again."
        )
    geometry = _geometry(folder, slices, one_series=False)
    return geometry.stack([read_mask(path, geometry.shape) for path in drawn])[0]


def _by_numbers(path: Path) -> list[tuple[int, str]]:
    """Sorts by the numbers in a name, however many digits they have."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", path.name)]


def _geometry(folder: Path, files: Sequence[Path], one_series: bool) -> Geometry:
    heads = [_head(path, one_series) for path in files]
    first = heads[0]
    if one_series and len({str(head.SeriesInstanceUID) for head in heads}) > 1:
        raise DataError(f"{folder} mixes several DICOM series.", "Keep one series a folder.")
    for path, head in zip(files, heads, strict=True):
        same = (head.Rows, head.Columns) == (first.Rows, first.Columns)
        turned = np.subtract(head.ImageOrientationPatient, first.ImageOrientationPatient)
        if not same or np.abs(turned.astype(float)).max() > 1e-3:
            raise DataError(f"{path} has another size or orientation than {files[0].name}.", "Keep one series.")
    if int(first.Rows) * int(first.Columns) * len(files) > MAX_VOXELS or not int(first.Rows) * int(first.Columns):
        raise DataError(f"{files[0]} has a header with an impossible size.", "Export the series again.")
    rows, columns = (np.array(first.ImageOrientationPatient[i : i + 3], float) for i in (0, 3))
    normal = np.cross(rows, columns)
    places = np.array([np.array(head.ImagePositionPatient, float) @ normal for head in heads])
    order = np.argsort(places)
    gaps = np.diff(places[order])
    if len(gaps) and (gaps.min() < 1e-3 or gaps.max() > 1.5 * float(np.median(gaps))):
        what = "two slices in one place" if gaps.min() < 1e-3 else "missing slices"
        at = int(np.argmin(gaps) if gaps.min() < 1e-3 else np.argmax(gaps))
        raise DataError(f"{folder} has {what} after {files[order[at]].name}.", "Export the series again.")
    dy, dx = (float(value) for value in first.PixelSpacing)
    dz = float(np.median(gaps)) if len(gaps) else float(getattr(first, "SliceThickness", 1) or 1)
    if min(dx, dy, dz) <= 0:
        raise DataError(f"{files[0]} has a spacing of 0.", "Correct its header.")
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1], affine[:3, 2] = rows * dx, columns * dy, normal * dz
    affine[:3, 3] = np.array(heads[order[0]].ImagePositionPatient, float)
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine  # DICOM counts to the left and back, RAS to the right and front
    return Geometry(
        tuple(int(i) for i in order), (int(first.Rows), int(first.Columns)), affine, str(getattr(first, "Modality", ""))
    )


def _head(path: Path, one_series: bool) -> pydicom.Dataset:
    try:
        head = pydicom.dcmread(path, stop_before_pixels=True)
    except (InvalidDicomError, OSError, ValueError, EOFError) as error:
        raise DataError(f"{path} is no readable DICOM file.", "Export it again.") from error
    missing = [name for name in GEOMETRY if name not in head and (one_series or name != "SeriesInstanceUID")]
    if missing:
        raise DataError(f"{path} lacks {missing[0]}.", "Export the series as CT or MR images.")
    return head


def _pixels(path: Path) -> np.ndarray:
    try:
        slice_ = pydicom.dcmread(path)
        pixels = slice_.pixel_array.astype(np.float32)
    except Exception as error:  # decoders raise what they like
        raise DataError(f"{path} holds no readable pixels.", "Export it again, uncompressed.") from error
    if pixels.ndim != 2:
        raise DataError(f"{path} is no single grey slice.", "Export one grey slice a file.")
    return pixels * float(getattr(slice_, "RescaleSlope", 1)) + float(getattr(slice_, "RescaleIntercept", 0))
