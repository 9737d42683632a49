"""Reading NRRD and MetaImage volumes with SimpleITK."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk  # noqa: N813 (as its documentation has it)

from uadbench.core.errors import DataError
from uadbench.data.reading.formats import format_of
from uadbench.data.reading.volume import MAX_VOXELS, Volume, grid_of

NRRD = (".nrrd", ".nhdr")


def is_itk(path: Path) -> bool:
    """Whether a file's name is that of NRRD or MetaImage."""
    found = format_of(path)
    return found is not None and found.kind == "itk"


def read_itk(path: Path) -> Volume:
    """Reads a volume and reorients it to RAS.

    Raises:
        DataError: If the file is missing, damaged, not 3-D, not of real numbers, or holds NaN.
    """
    if not path.is_file():
        raise DataError(f"{path} does not exist.", "Check --source.")
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    reader.SetImageIO("NrrdImageIO" if path.suffix.lower() in NRRD else "MetaImageIO")  # its guess wants lower case
    try:
        reader.ReadImageInformation()
        size = reader.GetSize()
        if reader.GetDimension() != 3 or reader.GetNumberOfComponents() != 1:
            what = f"{reader.GetDimension()} dimensions and {reader.GetNumberOfComponents()} values per voxel"
            raise DataError(f"{path} has {what}.", "Give one 3-D volume of magnitudes per file.")
        if not 0 < int(np.prod(size, dtype=np.int64)) <= MAX_VOXELS:
            raise DataError(f"{path} has a header with the impossible shape {size}.", "Download it again.")
        image = reader.Execute()
    except RuntimeError as error:
        raise DataError(f"{path} is not a readable volume.", "Download it again, or save it as NIfTI.") from error
    data = sitk.GetArrayFromImage(image)
    if data.dtype.kind not in "uif":
        raise DataError(f"{path} holds {data.dtype}, not magnitudes.", "Save one channel of real numbers.")
    affine = np.eye(4)
    affine[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) * np.array(image.GetSpacing())
    affine[:3, 3] = image.GetOrigin()
    flip = np.diag([-1.0, -1.0, 1.0, 1.0])  # ITK axes point left and back, RAS axes right and front
    return grid_of(path, data.transpose(2, 1, 0), flip @ affine)
