"""DICOM files of frames, and enhanced files, tiny and without anybody in them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, UltrasoundImageStorage, generate_uid

PIXELS = (24, 20)


def frame(path: Path, pixels: NDArray[np.unsignedinteger], *, modality: str = "US", white: int = 2) -> FileDataset:
    """A file of one grey frame, MONOCHROME1 or 2."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = UltrasoundImageStorage, generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    data.SOPClassUID, data.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    data.Modality, data.PhotometricInterpretation = modality, f"MONOCHROME{white}"
    data.Rows, data.Columns = pixels.shape[-2:]
    bits = pixels.dtype.itemsize * 8
    data.SamplesPerPixel, data.PixelRepresentation = 1, 0
    data.BitsAllocated, data.BitsStored, data.HighBit = bits, bits, bits - 1
    data.PixelData = pixels.tobytes()
    data["PixelData"].VR = "OB" if bits == 8 else "OW"
    return data


def enhanced(path: Path, pixels: NDArray[np.uint16], scales: list[tuple[float | None, float]]) -> Path:
    """An enhanced file of CT with a place per frame; scales are those of the frames, or one of all."""
    data = frame(path, pixels, modality="CT")
    data.NumberOfFrames = len(pixels)
    shared, each = Dataset(), [Dataset() for _ in pixels]
    orientation, measures = Dataset(), Dataset()
    orientation.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    measures.PixelSpacing, measures.SliceThickness = [2, 2], 5
    shared.PlaneOrientationSequence, shared.PixelMeasuresSequence = Sequence([orientation]), Sequence([measures])
    for z, about in enumerate(each):
        position = Dataset()
        position.ImagePositionPatient = [0, 0, 5 * z]
        about.PlanePositionSequence = Sequence([position])
    for about, (slope, intercept) in zip([shared] if len(scales) == 1 else each, scales, strict=True):
        scale = Dataset()
        scale.RescaleSlope, scale.RescaleIntercept = slope, intercept
        about.PixelValueTransformationSequence = Sequence([scale])
    data.SharedFunctionalGroupsSequence, data.PerFrameFunctionalGroupsSequence = Sequence([shared]), Sequence(each)
    data.save_as(path, enforce_file_format=True)
    return path
