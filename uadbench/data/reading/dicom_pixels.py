"""Decoding the pixels of a DICOM file: compressed or not, rescaled, with palettes and MONOCHROME1 applied."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pydicom
import SimpleITK as sitk  # noqa: N813 (as its documentation has it)
from numpy.typing import NDArray
from pydicom.pixels.processing import apply_color_lut
from pydicom.pixels.utils import pixel_array

from uadbench.core.errors import DataError

ABSOLUTE = ("CT", "MR", "PT", "NM")
"""Modalities with measured values, for which MONOCHROME1 affects only the display."""

IMAGE_GROUP, PIXELS = 0x0028, 0x7FE00010
"""The attributes of a DICOM file that say how its pixels are stored, and the pixels."""


@dataclass(frozen=True)
class Pixels:
    """The frames of a file.

    Attributes:
        frames: Rescaled values, float32 (n, h, w), or colours (n, h, w, 3).
        bits: Bits of a stored value: the range is 0..2**bits - 1 without rescaling.
    """

    frames: NDArray[np.float32]
    bits: int


def value_of(data: pydicom.Dataset, name: str) -> Any:
    """Returns an attribute, None if it is missing or empty."""
    value = data.get(name)
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    return None if hasattr(value, "__len__") and len(value) == 0 else value


def decode(path: Path) -> Pixels:
    """Reads all frames of a file.

    Raises:
        DataError: If the pixels cannot be decoded (naming the transfer syntax), or CT lacks Hounsfield units.
    """
    try:
        data = pydicom.dcmread(path)
    except Exception as error:  # damaged files raise arbitrary errors
        raise DataError(f"{path} is not a readable DICOM file.", "Export it again.") from error
    photometric = str(value_of(data, "PhotometricInterpretation") or "MONOCHROME2")
    slope, intercept = _rescale(path, data)
    stored = _stored(path, data)
    if photometric == "PALETTE COLOR" and stored.shape[-1] != 3:
        stored = np.asarray(apply_color_lut(stored.astype(np.uint16 if stored.max() > 255 else np.uint8), data))
        wide = stored.dtype.itemsize > 1
        stored = stored[..., :3] // (256 if wide else 1)
    coloured = stored.ndim >= 3 and stored.shape[-1] == 3 and int(value_of(data, "SamplesPerPixel") or 1) == 3
    coloured = coloured or photometric == "PALETTE COLOR"
    frames = stored[None] if stored.ndim == (3 if coloured else 2) else stored
    if frames.ndim != (4 if coloured else 3):
        raise DataError(f"{path} does not hold grey or colour frames.", "Export the frames as PNG.")
    bits = 8 if coloured else int(value_of(data, "BitsStored") or 8)
    values = frames.astype(np.float32)
    if photometric == "MONOCHROME1" and str(value_of(data, "Modality")) not in ABSOLUTE:
        signed = int(value_of(data, "PixelRepresentation") or 0) == 1
        values = np.float32(-1 if signed else 2**bits - 1) - values
    if not coloured:
        if len(slope) not in (1, len(values)):
            raise DataError(f"{path} has {len(values)} frames and rescale values of {len(slope)}.", "Export it again.")
        values = values * slope[:, None, None] + intercept[:, None, None]
    return Pixels(values, bits)


def _rescale(path: Path, data: pydicom.Dataset) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Returns slope and intercept, one of each, or of enhanced files whose frames differ one per frame."""
    both: list[tuple[Any, Any]] = []
    for groups in ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"):
        each = [value_of(group, "PixelValueTransformationSequence") for group in value_of(data, groups) or []]
        if each and all(each):
            both = [(value_of(one[0], "RescaleSlope"), value_of(one[0], "RescaleIntercept")) for one in each]
            break
    both = both or [(value_of(data, "RescaleSlope"), value_of(data, "RescaleIntercept"))]
    if str(value_of(data, "Modality")) == "CT":
        for slope, intercept in both:
            if slope is None or intercept is None:
                lacking = "RescaleSlope" if slope is None else "RescaleIntercept"
                raise DataError(
                    f"{path} is CT without Hounsfield units: {lacking} is missing or empty.",
                    "Export the series again with its rescale values, or convert it to NIfTI in HU.",
                )
    slopes = np.array([float(1 if slope is None else slope) or 1.0 for slope, _ in both], np.float32)
    return slopes, np.array([float(intercept or 0) for _, intercept in both], np.float32)


def _stored(path: Path, data: pydicom.Dataset) -> NDArray[Any]:
    """Returns the stored values: by pydicom, else by SimpleITK, which decodes what pydicom needs plug-ins for."""
    try:
        return np.asarray(pixel_array(data))
    except Exception as error:  # decoders raise arbitrary errors
        syntax = getattr(getattr(data, "file_meta", None), "TransferSyntaxUID", None)
        if syntax is None or not syntax.is_compressed:
            raise DataError(f"{path} holds no readable pixels: {_line(error)}.", "Export it again.") from error
        found = _by_itk(data)
        if found is None:
            raise DataError(
                f"{path} is compressed as {syntax.name}, and its pixels cannot be decoded: they are damaged, or need "
                "a plug-in.",
                "Export it uncompressed, or install a decoder: pip install 'uadbench[dicom]' for JPEG 2000 and RLE, "
                "pylibjpeg-libjpeg (GPL) for JPEG and JPEG Lossless.",
            ) from error
        return found


def _by_itk(data: pydicom.Dataset) -> NDArray[Any] | None:
    """Decodes a file with SimpleITK; None if it cannot.

    SimpleITK turns MONOCHROME1 and rescales: it gets a copy that says nothing of either, so that stored values come.
    """
    plain = pydicom.Dataset({tag: data[tag] for tag in data.keys() if tag.group == IMAGE_GROUP or tag == PIXELS})  # noqa: SIM118
    for name in ("RescaleSlope", "RescaleIntercept", "ModalityLUTSequence"):
        if name in plain:
            delattr(plain, name)
    if value_of(plain, "PhotometricInterpretation") == "MONOCHROME1":
        plain.PhotometricInterpretation = "MONOCHROME2"
    plain.file_meta = data.file_meta
    plain.SOPClassUID, plain.SOPInstanceUID = data.file_meta.MediaStorageSOPClassUID, "1.2.3"
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    with TemporaryDirectory() as folder:
        copy = Path(folder) / "copy.dcm"
        try:
            plain.save_as(copy, enforce_file_format=True)
            found = sitk.GetArrayFromImage(sitk.ReadImage(str(copy), imageIO="GDCMImageIO"))
        except (RuntimeError, ValueError, AttributeError, TypeError):
            return None
    return found[0] if len(found) == 1 else found


def _line(error: Exception) -> str:
    lines = str(error).splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__
