"""Reads from DICOM headers geometry, type and which files belong together; never identity.

Identifiers (series, patient) only group files while they are read; nothing here is written anywhere.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pydicom
from numpy.typing import NDArray

from uadbench.core.errors import DataError
from uadbench.data.reading.dicom_pixels import value_of

MAX_FRAMES = 100_000
"""Larger numbers in a header are refused before decoding."""

VOLUMES = ("CT", "MR", "PT")
"""Modalities whose files are slices of a volume and need a geometry."""

NO_IMAGES = ("SR", "SEG", "PR", "KO", "REG", "FID", "RWV", "DOC", "RTSTRUCT", "RTPLAN", "RTDOSE", "RTRECORD")
"""Modalities of files about images: reports, segmentations, displays, plans."""

TAGS = (
    "SOPClassUID",
    "SeriesInstanceUID",
    "PatientID",
    "Modality",
    "Rows",
    "Columns",
    "NumberOfFrames",
    "SamplesPerPixel",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "PixelSpacing",
    "ImagerPixelSpacing",
    "SliceThickness",
    "SequenceOfUltrasoundRegions",
    "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence",
    "ProtocolName",
    "SeriesDescription",
)


@dataclass(frozen=True)
class Placed:
    """Position of a slice.

    Attributes:
        position: Centre of the first pixel in mm, DICOM axes.
        rows: Direction along a row, unit vector; ``columns``: direction along a column.
        columns: See ``rows``.
        spacing: Millimetres between rows and between columns.
        thickness: Slice thickness in mm.
        size: (rows, columns).
    """

    position: NDArray[np.float64]
    rows: NDArray[np.float64]
    columns: NDArray[np.float64]
    spacing: tuple[float, float]
    thickness: float
    size: tuple[int, int]


@dataclass(frozen=True)
class Grouped:
    """DICOM files that form one volume, or one file of frames.

    Attributes:
        files: The files.
        shape: Whether they are a volume or frames.
        frames: Frames of the file, for frames.
        patient: Identifier that groups images of a person while a folder is read; "" if unknown.
        modality: E.g. "CT"; "" if unknown.
        series: Identifier that groups slices of a volume while a folder is read; "" if unknown.
    """

    files: tuple[Path, ...]
    shape: Literal["volume", "frame"]
    frames: int = 1
    patient: str = ""
    modality: str = ""
    series: str = ""


def header(path: Path) -> pydicom.Dataset:
    """Returns the required parts of a header.

    Raises:
        DataError: If the file is damaged or not DICOM.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of odd values; damaged ones that matter are errors
            head = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=list(TAGS))
            frames = int(value_of(head, "NumberOfFrames") or 1)
    except Exception as error:  # damaged files raise arbitrary errors
        raise DataError(f"{path} is not a readable DICOM file.", "Export it again.") from error
    if not 1 <= frames <= MAX_FRAMES:
        raise DataError(f"{path} has a header of {frames} frames.", "Export it again.")
    return head


def grouped(files: Iterable[Path], *, one_series: bool = False) -> list[Grouped]:
    """Groups the DICOM files of a folder to volumes and frames; each unreadable file forms its own group.

    Args:
        files: Files of one folder; those of ``NO_IMAGES`` are left out.
        one_series: Whether all slices form one volume whatever their headers state: anonymisation may have given
            each a different series.
    """
    series: dict[str, list[tuple[Path, pydicom.Dataset]]] = {}
    found: list[Grouped] = []
    for path in files:
        try:
            head = header(path)
        except DataError:  # reported when it is processed
            series.setdefault("" if one_series else str(path), []).append((path, pydicom.Dataset()))
            continue
        modality, patient = str(value_of(head, "Modality") or ""), str(value_of(head, "PatientID") or "")
        if modality in NO_IMAGES:
            continue
        frames = int(value_of(head, "NumberOfFrames") or 1)
        placed = value_of(head, "ImagePositionPatient") is not None
        if modality in VOLUMES or one_series or (placed and frames == 1):
            if is_enhanced(head):
                found.append(Grouped((path,), "volume", 1, patient, modality))
            else:
                key = "" if one_series else str(value_of(head, "SeriesInstanceUID") or "")
                series.setdefault(key, []).append((path, head))
        else:
            found.append(Grouped((path,), "frame", frames, patient, modality))
    for members in series.values():
        heads = [head for _, head in members]
        patient = next((str(value_of(h, "PatientID")) for h in heads if value_of(h, "PatientID")), "")
        modality = next((str(value_of(h, "Modality")) for h in heads if value_of(h, "Modality")), "")
        uid = "" if one_series else next((str(value_of(h, "SeriesInstanceUID") or "") for h in heads), "")
        found.append(Grouped(tuple(path for path, _ in members), "volume", 1, patient, modality, uid))
    return sorted(found, key=lambda each: each.files[0])


def is_enhanced(head: pydicom.Dataset) -> bool:
    """Whether a file holds several slices, or may."""
    return int(value_of(head, "NumberOfFrames") or 1) > 1 or "PerFrameFunctionalGroupsSequence" in head


def placed(path: Path, head: pydicom.Dataset) -> list[Placed]:
    """Returns the positions of the slices in a file: one, or one per frame of an enhanced file.

    Raises:
        DataError: Naming the missing header entry.
    """
    count = int(value_of(head, "NumberOfFrames") or 1)
    if not is_enhanced(head):
        return [_place(path, head, [head])]
    shared, each = (value_of(head, f"{name}FunctionalGroupsSequence") or [] for name in ("Shared", "PerFrame"))
    if len(each) != count:
        raise DataError(
            f"{path} is a multi-frame file without frame positions.",
            "Convert it to NIfTI, for example with dcm2niix.",
        )
    return [_place(path, head, [frame, *shared]) for frame in each]


def frame_spacing(head: pydicom.Dataset) -> tuple[float, float] | None:
    """Returns millimetres between rows and between columns of a frame; None if unknown or damaged."""
    try:
        return _frame_spacing(head)
    except (TypeError, ValueError):
        return None


def _frame_spacing(head: pydicom.Dataset) -> tuple[float, float] | None:
    for name in ("PixelSpacing", "ImagerPixelSpacing"):
        value = value_of(head, name)
        if value is not None and min(float(part) for part in value) > 0:
            return float(value[0]), float(value[1])
    regions = value_of(head, "SequenceOfUltrasoundRegions")
    if regions is not None and len(regions) == 1:
        units = [value_of(regions[0], f"PhysicalUnits{axis}Direction") for axis in "XY"]
        deltas = [value_of(regions[0], f"PhysicalDelta{axis}") for axis in "YX"]
        if units == [3, 3] and all(deltas):  # 3: centimetres
            return abs(float(deltas[0])) * 10, abs(float(deltas[1])) * 10
    return None


def _place(path: Path, head: pydicom.Dataset, places: list[pydicom.Dataset]) -> Placed:
    def get(name: str, sequence: str, *, needed: bool = True) -> Any:
        for place in places:
            inner = value_of(place, sequence)
            value = value_of(inner[0] if inner else place, name)
            if value is not None:
                return value
        if needed:
            raise DataError(f"{path} lacks {name}, or it is empty.", "Export the series again, or convert it to NIfTI.")
        return None

    try:
        position = np.array(get("ImagePositionPatient", "PlanePositionSequence"), dtype=np.float64)
        direction = np.array(get("ImageOrientationPatient", "PlaneOrientationSequence"), dtype=np.float64)
        dy, dx = (float(part) for part in get("PixelSpacing", "PixelMeasuresSequence"))
        thickness = float(get("SliceThickness", "PixelMeasuresSequence", needed=False) or 1)
        size = int(value_of(head, "Rows") or 0), int(value_of(head, "Columns") or 0)
    except (TypeError, ValueError) as error:
        raise DataError(f"{path} has a damaged geometry.", "Export the series again.") from error
    if position.shape != (3,) or direction.shape != (6,) or min(dx, dy) <= 0:
        raise DataError(f"{path} has no valid geometry (position, orientation or spacing).", "Correct its header.")
    return Placed(position, direction[:3], direction[3:], (dy, dx), thickness, size)
