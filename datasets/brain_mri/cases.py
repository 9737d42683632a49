"""A case of brain MRI on disk, and its conversion to slices."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from uadbench.core.errors import DataError
from uadbench.core.roles import Role
from uadbench.data.body import extracted_body
from uadbench.data.nifti import axial, read_binary, read_labels, read_volume
from uadbench.data.normalise import mr_scale

MIN_AREA_MM2 = 2000.0
"""Slices with less brain (the top and the bottom of the head) are left out."""

MAX_LOST = 0.1
"""A mask that loses more of its lesion outside the brain is taken for misregistered."""


@dataclass(frozen=True, slots=True)
class Case:
    """One volume of a patient.

    Attributes:
        name: Case and patient, unique.
        cohort: Where it comes from, e.g. "mslub".
        role: Role of the patient.
        image: NIfTI file, brain extracted.
        lesions: NIfTI file of the lesion labels; every label above 0 is lesion. None: healthy.
        brain: NIfTI file of the brain mask; None: where the image is not 0.
        binary: Whether more than one lesion label is an error.
        kind: Stratum of the slices that hold a lesion.
    """

    name: str
    cohort: str
    role: Role
    image: Path
    lesions: Path | None = None
    brain: Path | None = None
    binary: bool = True
    kind: str = ""

    @property
    def healthy_kind(self) -> str:
        """Stratum of the slices without a lesion; those of lesion patients are a kind of their own."""
        return "" if self.lesions is None else "lesion-patient"


@dataclass(frozen=True, slots=True)
class Slices:
    """The kept axial slices of a case.

    Attributes:
        index: Their z positions in RAS order, length n.
        image: In [-1, 1], float32 of shape (n, 1, h, w).
        body: Brain, bool of shape (n, h, w).
        mask: 0 or 1, uint8 of shape (n, h, w).
        spacing: Millimetres a pixel (row, column).
        thickness: Slice distance in mm.
    """

    index: list[int]
    image: NDArray[np.float32]
    body: NDArray[np.bool_]
    mask: NDArray[np.uint8]
    spacing: tuple[float, float]
    thickness: float


def convert(case: Case) -> Slices:
    """Reads a case under the strict recipe: one scale a volume, native grid, RAS.

    Raises:
        DataError: Naming the file that cannot be used.
    """
    volume = read_volume(case.image)
    body = extracted_body(volume.data) if case.brain is None else read_labels(case.brain, volume) > 0
    truth = np.zeros(volume.data.shape, dtype=bool)
    if case.lesions is not None:
        truth = read_binary(case.lesions, volume) if case.binary else read_labels(case.lesions, volume) > 0
        lost = int((truth & ~body).sum())
        if lost > MAX_LOST * max(int(truth.sum()), 1):
            raise DataError(
                f"{case.lesions}: {lost} of {int(truth.sum())} lesion voxels lie outside the brain.",
                "Check that image and mask belong together.",
            )
        truth &= body
    if body.mean() > 0.9:
        raise DataError(f"{case.image} has no empty background.", "Extract the brain first, or give a brain mask.")
    try:
        scaled = mr_scale(volume.data, body)
    except DataError as error:
        raise DataError(f"{case.image}: {error.message}.", error.remedy) from error
    scaled[~body] = -1
    area = body.sum((0, 1)) * volume.spacing[0] * volume.spacing[1]
    kept = [int(z) for z in np.flatnonzero(area >= MIN_AREA_MM2)]
    if not kept:
        raise DataError(f"{case.image} has no slice with {MIN_AREA_MM2:.0f} mm² of brain.", "Check its spacing.")
    return Slices(
        kept,
        np.stack([axial(scaled, z) for z in kept])[:, None],
        np.stack([axial(body, z) for z in kept]),
        np.stack([axial(truth, z) for z in kept]).astype(np.uint8),
        volume.slice_spacing,
        volume.spacing[2],
    )
