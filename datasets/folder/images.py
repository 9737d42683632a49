"""From a row to slices: 2-D images as they are, volumes slice by slice."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from uadbench.core.errors import DataError
from uadbench.data.preprocessing.body import extracted_body, fill_slices, largest_part
from uadbench.data.preprocessing.normalise import mr_scale, window
from uadbench.data.reading.folder import files
from uadbench.data.reading.nifti import Volume, axial, read_binary, read_volume
from uadbench.data.reading.raster import read_grey, read_mask
from uadbench.datasets.folder.rows import Row

CT_WINDOW = (-160.0, 240.0)
"""The usual soft-tissue window of the abdomen (level 40, width 400)."""

AIR = -300.0
"""HU below which a voxel is not body."""

CT_FLOOR = -500.0
"""A NIfTI file with values below is taken for CT in HU: magnitudes are not negative."""


@dataclass(frozen=True, slots=True)
class Slice:
    """Image in [-1, 1], body and mask, all (h, w); spacing and slice distance in mm where known."""

    image: NDArray[np.float32]
    body: NDArray[np.bool_]
    mask: NDArray[np.bool_]
    spacing: tuple[float, float] | None = None
    thickness: float | None = None


def _series_reader(row: Row) -> Callable[[Path, list[Path]], tuple[Volume, str]]:
    """Returns the reader of DICOM series, which is an optional part."""
    try:
        from uadbench.data.reading.dicom import read_series
    except ImportError as error:
        raise DataError(
            f"{row.image} is a DICOM series, and pydicom is not installed.", "pip install 'uadbench[medical]'"
        ) from error
    return read_series


def convert(row: Row) -> list[Slice]:
    """Reads image, mask and region of interest of a row; the mask is empty where only the label is known.

    Raises:
        DataError: Naming the file that cannot be used.
    """
    slices = _volume(row) if row.image.is_dir() or row.image.name.endswith((".nii", ".nii.gz")) else [_flat(row)]
    drawn = any(one.mask.any() for one in slices)
    if drawn and not row.abnormal:
        raise DataError(f"{row.mask} marks a lesion, but {row.image.name} is labelled normal.", "Correct the label.")
    if row.abnormal and row.mask is not None and not drawn:
        raise DataError(f"{row.mask} is empty, but {row.image.name} is labelled abnormal.", "Correct the label.")
    return slices


def _flat(row: Row) -> Slice:
    grey = read_grey(row.image)
    mask = np.zeros(grey.shape, bool) if row.mask is None else read_mask(row.mask, grey.shape)
    body = np.ones(grey.shape, bool) if row.roi is None else read_mask(row.roi, grey.shape)
    return Slice((2 * grey - 1).astype(np.float32), body, mask)


def _volume(row: Row) -> list[Slice]:
    if row.image.is_dir():
        volume, modality = _series_reader(row)(row.image, files(row.image, "*.dcm"))
    else:
        volume, modality = read_volume(row.image), ""
    if volume.data.min() == volume.data.max():
        raise DataError(f"{row.image} is constant.", "Remove the file.")
    mask = np.zeros(volume.data.shape, bool) if row.mask is None else read_binary(row.mask, volume)
    scaled, body = _scale(row, volume, modality)
    thickness = volume.spacing[2]
    return [
        Slice(axial(scaled, z), axial(body, z), axial(mask, z), volume.slice_spacing, thickness)
        for z in map(int, np.flatnonzero(body.any((0, 1))))
    ]


def _scale(row: Row, volume: Volume, modality: str) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    ct = modality == "CT" or volume.data.min() < CT_FLOOR
    if row.roi is not None:
        body = read_binary(row.roi, volume)
    elif ct:
        body = fill_slices(largest_part(volume.data > AIR))
    else:
        body = extracted_body(volume.data)
    if not body.any():
        raise DataError(f"{row.roi or row.image} leaves no body.", "Check the region of interest.")
    if ct:
        return window(volume.data, *CT_WINDOW), body
    try:
        return mr_scale(volume.data, body), body
    except DataError as error:
        raise DataError(f"{row.image}: {error.message}.", error.remedy) from error
