"""A volume in memory: RAS orientation, its affine, and the planes in which it is sliced.

Arrays are (x, y, z) with x to the patient's right, y to the front and z up (RAS+). ``axial`` turns a z index into a
image in radiological display:  rows from front to back, columns from the patient's right to the left. Moving
another axis last gives the other two planes by the same rule: rows from the head down in both.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.affines import voxel_sizes
from numpy.typing import NDArray

from uadbench.core.errors import DataError

AXES = {"sagittal": 0, "coronal": 1, "axial": 2}
"""The axis along which the slices of a plane are counted."""

THICK = 1.2
"""Factor by which the slice spacing must exceed the next largest spacing."""

MAX_VOXELS = 2**30
"""Larger sizes in a header are refused before reading; the largest public CT has 2.6e8 voxels."""


@dataclass(frozen=True, slots=True)
class Volume:
    """A 3-D image in RAS orientation.

    Attributes:
        path: Its file.
        data: Intensities, float32 of shape (x, y, z), finite.
        affine: Voxel index to millimetres, RAS+, (4, 4).
        spacing: Millimetres per voxel along x, y and z.
        modality: Modality in the DICOM header, e.g. "CT"; "" for other files.
        notes: Corrections made while reading.
    """

    path: Path
    data: NDArray[np.float32]
    affine: NDArray[np.float64]
    spacing: tuple[float, float, float]
    modality: str = ""
    notes: tuple[str, ...] = ()

    @property
    def slice_spacing(self) -> tuple[float, float]:
        """Millimetres per pixel (row, column) of an axial slice."""
        return self.spacing[1], self.spacing[0]


def grid_of(path: Path, data: NDArray[Any], affine: NDArray[np.float64]) -> Volume:
    """Returns an array with its affine as a volume in RAS orientation.

    Raises:
        DataError: If it holds NaN or infinite values.
    """
    image = nib.as_closest_canonical(nib.Nifti1Image(np.asarray(data, dtype=np.float32), affine))
    values, turned = np.asarray(image.dataobj, dtype=np.float32), np.asarray(image.affine, dtype=np.float64)
    if not np.isfinite(values).all():
        raise DataError(f"{path} holds NaN or infinite values.", "Repair or remove the file.")
    spacing = voxel_sizes(turned)
    return Volume(path, values, turned, (float(spacing[0]), float(spacing[1]), float(spacing[2])))


def axial(volume: NDArray[Any], z: int) -> NDArray[Any]:
    """Returns an axial slice, (rows, columns): front to back, the patient's right to the left."""
    return volume[::-1, ::-1, z].T


def slicing_axis(spacing: tuple[float, float, float], plane: str = "") -> int:
    """Returns the slice axis: that of the given plane, otherwise that of the largest spacing.

    Args:
        spacing: Millimetres per voxel along x, y and z.
        plane: axial, coronal or sagittal; "" for the plane of acquisition, axial if no spacing is clearly the largest.
    """
    if plane:
        return AXES[plane]
    order = sorted(range(3), key=lambda axis: spacing[axis])
    return order[2] if spacing[order[2]] > THICK * spacing[order[1]] else 2


def slices_last(volume: NDArray[Any], axis: int) -> NDArray[Any]:
    """Returns the volume with its slicing axis last, so that ``axial`` gives its slices."""
    return np.moveaxis(volume, axis, 2)


def slices_back(volume: NDArray[Any], axis: int) -> NDArray[Any]:
    """Undoes ``slices_last``."""
    return np.moveaxis(volume, 2, axis)
