"""Lesion masks as DICOM segmentations (SEG) on the slices that they were drawn on, by highdicom."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.uid import generate_uid

from uadbench import __version__
from uadbench.core.errors import DataError, UserError
from uadbench.core.files import atomic_write
from uadbench.data.reading.dicom import read_geometry
from uadbench.data.reading.incoming import Incoming

END = "_lesion.dcm"

NEEDED = (
    "PatientID",
    "PatientName",
    "PatientBirthDate",
    "PatientSex",
    "AccessionNumber",
    "StudyID",
    "StudyDate",
    "StudyTime",
)
"""Attributes of patient and study that a SEG copies; anonymised files lack some, and they may be empty."""


def check_highdicom() -> None:
    """Asks for the library before anything is predicted.

    Raises:
        UserError: If it is not installed.
    """
    if find_spec("highdicom") is None:
        raise UserError("highdicom is not installed.", "pip install 'uadbench[medical]'")


def lesion_planes(incoming: Incoming, lesion: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Returns a mask on the frames of the source, (frames, rows, columns), in the order of its files.

    Args:
        incoming: A DICOM volume or frame.
        lesion: Its mask, (x, y, z) in RAS order or (h, w).
    """
    if incoming.shape == "volume":
        return read_geometry(incoming.place, incoming.files).unstack(lesion)
    return lesion[None]


def write_seg(path: Path, incoming: Incoming, lesion: NDArray[np.bool_], run: str, method: str, version: str) -> Path:
    """Writes ``PATH_lesion.dcm``, a binary SEG of one segment that refers to the series of the source.

    Patient and study are those of the source, without which a viewer could not lay one over the other. The series has
    an identifier of its own, the same each time.

    Args:
        path: Output path without suffix.
        incoming: A DICOM volume or frame.
        lesion: Its mask, (x, y, z) in RAS order or (h, w).
        run: Identifier of the run.
        method: The method, named as the algorithm.
        version: Its version.

    Raises:
        DataError: If the headers of the source do not allow a SEG.
    """
    import highdicom as hd
    from highdicom.sr.coding import CodedConcept
    from pydicom.sr.codedict import codes

    heads = [_head(file) for file in incoming.files]
    if incoming.shape == "frame" and int(heads[0].get("NumberOfFrames") or 1) > 1:
        raise DataError("frames of a film have no coordinates that a SEG could refer to", "Use the PNG masks.")
    uids = [str(head.get("SOPInstanceUID", "")) for head in heads]

    def uid(what: str) -> str:
        return generate_uid(entropy_srcs=[what, run, *uids])

    algorithm = hd.AlgorithmIdentificationSequence(
        name=f"uadbench {method}", family=codes.DCM.ArtificialIntelligence, version=version
    )
    segment = hd.seg.SegmentDescription(
        segment_number=1,
        segment_label="Anomaly",
        segmented_property_category=CodedConcept("49755003", "SCT", "Morphologically Abnormal Structure"),
        segmented_property_type=CodedConcept("52988006", "SCT", "Lesion"),
        algorithm_type=hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=algorithm,
    )
    planes = lesion_planes(incoming, lesion).astype(np.uint8)
    try:
        made = hd.seg.Segmentation(
            source_images=heads,
            pixel_array=planes,
            segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
            segment_descriptions=[segment],
            series_instance_uid=uid("series"),
            series_number=900,
            sop_instance_uid=uid("instance"),
            instance_number=1,
            manufacturer="uadbench",
            manufacturer_model_name=method,
            software_versions=__version__,
            device_serial_number=run,
            content_label="ANOMALY",
            omit_empty_frames=bool(planes.any()),
        )
    except (AttributeError, ValueError, TypeError, KeyError) as error:
        what = str(error).splitlines()[0].rstrip(".") if str(error) else type(error).__name__
        raise DataError(f"its headers do not allow one: {what}", "Export the series with complete headers.") from error
    return atomic_write(path.with_name(path.name + END), made.save_as)


def _head(file: Path) -> pydicom.Dataset:
    head = pydicom.dcmread(file, stop_before_pixels=True)
    for name in NEEDED:
        if name not in head:
            setattr(head, name, "")
    return head
