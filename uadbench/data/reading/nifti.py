"""Reading volumes and masks of voxels: NIfTI by nibabel, NRRD and MetaImage by SimpleITK; always RAS, always checked.

nibabel reports whether a NIfTI file has an orientation at all; SimpleITK would make one up.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.affines import apply_affine, voxel_sizes
from nibabel.filebasedimages import ImageFileError
from nibabel.openers import ImageOpener
from nibabel.spatialimages import HeaderDataError, SpatialImage
from numpy.typing import NDArray

from uadbench.core.errors import DataError
from uadbench.data.reading.itk import is_itk, read_itk
from uadbench.data.reading.volume import MAX_VOXELS, Volume, axial

__all__ = ["MAX_VOXELS", "Volume", "axial", "read_binary", "read_binary_labels", "read_labels", "read_volume"]


def read_volume(path: Path) -> Volume:
    """Reads a volume of any format except DICOM and reorients it to RAS.

    Raises:
        DataError: If the file is missing, truncated, not 3-D, without orientation or spacing, or holds NaN or inf.
    """
    if is_itk(path):
        return read_itk(path)
    image = _open(path)
    data = _data(image, path)
    if not np.isfinite(data).all():
        raise DataError(f"{path} holds NaN or infinite values.", "Repair or remove the file.")
    affine = np.asarray(image.affine, dtype=np.float64)
    spacing = voxel_sizes(affine)
    return Volume(path, data, affine, (float(spacing[0]), float(spacing[1]), float(spacing[2])))


def read_labels(path: Path, grid: Volume) -> NDArray[np.int16]:
    """Reads a label volume that must lie on the grid of an image.

    Returns:
        Integer labels of shape (x, y, z).

    Raises:
        DataError: If the file cannot be read, lies on another grid, or holds values that are not labels.
    """
    if is_itk(path):
        volume = read_itk(path)
        data, affine = volume.data, volume.affine
    else:
        image = _open(path)
        data, affine = _data(image, path), np.asarray(image.affine, dtype=np.float64)
    if data.shape != grid.data.shape or not _same_grid(affine, grid):
        raise DataError(
            f"{path} has another grid (shape or affine) than {grid.path.name}.",
            "Use the mask drawn on that image, or resample it with nearest neighbour.",
        )
    if (
        not np.isfinite(data).all()
        or (data != np.round(data)).any()
        or data.min() < 0
        or data.max() > np.iinfo("i2").max
    ):
        raise DataError(
            f"{path} holds values that are not labels (whole numbers from 0 on).",
            "Binarise the mask, for example at 0.5.",
        )
    return data.astype(np.int16)


def read_binary(path: Path, grid: Volume) -> NDArray[np.bool_]:
    """Reads a mask of 0 and one positive value that must lie on the grid of an image.

    Raises:
        DataError: As ``read_labels``, and if there is more than one positive value.
    """
    labels = read_labels(path, grid)
    values = np.unique(labels)
    if len(values[values > 0]) > 1:
        named = ", ".join([str(value) for value in values[:4]] + (["..."] if len(values) > 4 else []))
        raise DataError(f"{path} holds the labels {named} instead of 0 and 1.", "Binarise the mask.")
    return labels > 0


def read_binary_labels(path: Path, grid: Volume, labels: Sequence[int]) -> NDArray[np.bool_]:
    """Reads a mask: the given labels, or 0 and one positive value if none are given.

    Raises:
        DataError: As ``read_binary``; the remedy for several labels is to select some of them.
    """
    if labels:
        return np.isin(read_labels(path, grid), labels)
    try:
        return read_binary(path, grid)
    except DataError as error:
        if "holds the labels" in error.message:
            raise DataError(error.message, "Select the lesion labels with --set lesion=2,3.") from error
        raise


def _open(path: Path) -> SpatialImage:
    try:
        image = nib.load(path)
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist.", "Check --source.") from error
    except (ImageFileError, HeaderDataError, OSError, EOFError, zlib.error, ValueError) as error:
        raise DataError(f"{path} is not a readable NIfTI file: {_line(error)}.", "Download it again.") from error
    if not isinstance(image, nib.Nifti1Image):
        raise DataError(f"{path} is not a NIfTI file.", "Convert it to NIfTI.")
    shape = image.shape
    if len(shape) == 4 and shape[3] == 1:
        image = image.slicer[..., 0]
    elif len(shape) != 3:
        raise DataError(f"{path} has {len(shape)} dimensions {shape} instead of 3.", "Give one volume per file.")
    if int(np.prod(shape, dtype=np.int64)) > MAX_VOXELS or min(shape) < 1:
        raise DataError(f"{path} has a header with the impossible shape {shape}.", "Download it again.")
    kind = np.dtype(image.get_data_dtype())
    if kind.kind not in "uif":
        what = "colours (RGB)" if kind.fields else "complex numbers" if kind.kind == "c" else str(kind)
        raise DataError(f"{path} holds {what}, not magnitudes.", "Save one channel of real numbers, magnitudes for MR.")
    # nibabel makes up a missing affine and replaces a spacing of 0 by 1: inspect the stored header.
    with ImageOpener(str(path)) as file:
        header = type(image.header).from_fileobj(file, check=False)
    if int(header["sform_code"]) == 0 and int(header["qform_code"]) == 0:
        raise DataError(f"{path} has no orientation (no qform, no sform).", "Set its affine.")
    spacing = np.asarray(header["pixdim"][1:4], dtype=float)
    affine = np.asarray(image.affine, dtype=float)
    if not np.isfinite(affine).all() or (spacing <= 0).any() or abs(np.linalg.det(affine[:3, :3])) < 1e-9:
        raise DataError(f"{path} has a voxel spacing of 0 or no valid affine.", "Correct its header.")
    return nib.as_closest_canonical(image)


def _data(image: SpatialImage, path: Path) -> NDArray[np.float32]:
    try:
        return np.asarray(image.dataobj, dtype=np.float32)
    except (OSError, EOFError, zlib.error, ValueError) as error:
        raise DataError(f"{path} is truncated or damaged: {_line(error)}.", "Download it again.") from error


def _line(error: Exception) -> str:
    lines = str(error).splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__


def _same_grid(affine: NDArray[Any], grid: Volume) -> bool:
    """Whether no corner of the volume is off by more than half a voxel."""
    corners = np.stack(np.meshgrid(*[(0, n - 1) for n in grid.data.shape], indexing="ij"), -1).reshape(-1, 3)
    offset = apply_affine(np.asarray(affine), corners) - apply_affine(grid.affine, corners)
    return bool(np.linalg.norm(offset, axis=1).max() <= 0.5 * min(grid.spacing))
