"""The CT part of CHAOS: DICOM slices and PNG masks of healthy livers (Kavur et al. 2021, Med Image Anal 69:101950).

Layout: ``Train_Sets/CT/N/DICOM_anon/*.dcm`` with ``Train_Sets/CT/N/Ground/liver_GT_NNN.png``. Slices and masks are
matched in the order of their names; headers give the slice positions, and names often count from the top down. The
patients of ``Test_Sets`` have no masks and are ignored.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from uadbench.core.errors import DataError
from uadbench.data.reading.folder import files, inside
from uadbench.data.reading.nifti import Volume

Pair = tuple[str, str, Path, Path]
"""Cohort, number of the patient, image, labels."""

NO_LIVER = -50.0
"""HU below any liver tissue, however fatty: only air, lung and body fat."""

MOST_OUTSIDE = 0.1
"""Masks with a larger share of such voxels belong to other slices."""


def pairs(source: Path) -> list[Pair]:
    """Returns ("chaos", number, DICOM_anon, Ground) of every CT patient with masks, sorted by number.

    Raises:
        DataError: If a training patient has no masks, or two have one number.
    """
    found: dict[int, Pair] = {}
    for folder in sorted(source.rglob("DICOM_anon")):
        patient = inside(source, folder).parent
        if patient.parent.name != "CT" or not patient.name.isdigit() or patient.parent.parent.name == "Test_Sets":
            continue
        masks = patient / "Ground"
        if not masks.is_dir():
            raise DataError(f"{patient} has no folder Ground with its masks.", "Download Train_Sets again.")
        other = found.setdefault(int(patient.name), ("chaos", patient.name, folder, masks))
        if other[2] != folder:
            raise DataError(f"{folder} and {other[2]} are the same patient.", "Keep one of them.")
    return [found[number] for number in sorted(found)]


def read(folder: Path, masks: Path) -> tuple[Volume, NDArray[np.int16]]:
    """Reads a patient in RAS order.

    Args:
        folder: The DICOM slices.
        masks: As many PNG masks.

    Returns:
        The volume in HU, and 1 on the liver, same shape.

    Raises:
        DataError: If slices and masks do not match, or a file cannot be used.
    """
    try:
        from uadbench.data.reading.dicom import read_drawn, read_series
    except ImportError as error:
        raise DataError(f"{folder} is DICOM, which needs pydicom.", "Run: pip install 'uadbench[medical]'") from error
    slices = files(folder, "*.dcm")
    # Slices and masks are counted before reading; anonymisation gave each slice a different series.
    liver = read_drawn(folder, slices, masks)
    volume, _ = read_series(folder, slices, one_series=False)
    try:
        check_on_tissue(volume.data, liver)
    except DataError as error:
        raise DataError(f"{masks}: {error.message}.", "Keep the original file names.") from error
    return volume, liver.astype(np.int16)


def check_on_tissue(hu: NDArray[np.float32], liver: NDArray[np.bool_]) -> None:
    """Checks that a liver mask belongs to its volume.

    Raises:
        DataError: If too much of it is on air or fat.
    """
    outside = float((hu[liver] < NO_LIVER).mean()) if liver.any() else 0.0
    if outside > MOST_OUTSIDE:
        raise DataError(f"{outside:.0%} of the liver mask is on air or fat, so it belongs to other slices")
