"""A case of brain MRI on disk, and its conversion to slices."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from uadbench.core.dataset import Recipe
from uadbench.core.errors import DataError
from uadbench.core.roles import Role
from uadbench.data.preprocessing.brain import MIN_AREA_MM2, brain_of, brain_scale, brain_slices
from uadbench.data.preprocessing.published_grid import PAPER_SIZE, published_image, published_mask
from uadbench.data.reading.nifti import Volume, axial, read_binary, read_labels, read_volume

MAX_LOST = 0.1
"""A mask with a larger share of its lesion outside the brain is assumed to be misregistered."""

PAPER_SLICES = range(80, 100)
"""The axial slices of BraTS that Synomaly was trained and tested on (Bi et al. 2025)."""


@dataclass(frozen=True, slots=True)
class Case:
    """One volume of a patient.

    Attributes:
        name: Unique.
        cohort: Its cohort, e.g. "mslub".
        role: Role of the patient, None until one is assigned.
        image: NIfTI file, brain-extracted or with a brain mask.
        lesions: NIfTI file of the lesion labels; every label above 0 is lesion. None: healthy.
        brain: NIfTI file of the brain mask; None: where the image is not 0.
        labels: Allowed values of the lesion file; None for any whole numbers, () for 0 and one other value.
        patient: Patient; if empty, the name.
        kind: Stratum of the slices with a lesion.
        recipe: Recipe of the conversion.
    """

    name: str
    cohort: str
    role: Role | None
    image: Path
    lesions: Path | None = None
    brain: Path | None = None
    labels: tuple[int, ...] | None = ()
    patient: str = ""
    kind: str = ""
    recipe: Recipe = "strict"

    @property
    def person(self) -> str:
        """The patient."""
        return self.patient or self.name

    @property
    def files(self) -> list[Path]:
        """All files that are read."""
        return [file for file in (self.image, self.lesions, self.brain) if file is not None]

    @property
    def healthy_kind(self) -> str:
        """Stratum of the slices without a lesion; those of lesion patients are a separate stratum."""
        return "" if self.lesions is None else "lesion-patient"


@dataclass(frozen=True, slots=True)
class Slices:
    """The selected axial slices of a case.

    Attributes:
        index: Their z positions in RAS order, length n.
        image: In [-1, 1], floats of shape (n, 1, h, w).
        body: Brain, bool of shape (n, h, w).
        mask: 0 or 1, uint8 of shape (n, h, w).
        lesion: Whether a slice holds a lesion on its native grid, bool of shape (n,): a downsampled mask may have lost
            it.
        spacing: Millimetres per pixel (row, column).
        thickness: Slice distance in mm.
    """

    index: list[int]
    image: NDArray[np.floating]
    body: NDArray[np.bool_]
    mask: NDArray[np.uint8]
    lesion: NDArray[np.bool_]
    spacing: tuple[float, float]
    thickness: float


def convert(case: Case) -> Slices:
    """Reads a case in RAS order: on its native grid, or on the paper's.

    Raises:
        DataError: Naming the file that cannot be used.
    """
    volume = read_volume(case.image)
    mask = None if case.brain is None else read_labels(case.brain, volume) > 0
    with _naming(case.image):
        body = brain_of(volume.data, mask)
    truth = _truth(case, volume, body)
    kept = [int(z) for z in np.flatnonzero(brain_slices(body, volume.spacing))]
    if case.recipe == "paper":
        kept = [z for z in kept if z in PAPER_SLICES]
    if not kept:
        raise DataError(f"{case.image} has no slice with {MIN_AREA_MM2:.0f} mm² of brain.", "Check its spacing.")
    bodies = np.stack([axial(body, z) for z in kept])
    truths = np.stack([axial(truth, z) for z in kept])
    lesion = np.array([bool(plane.any()) for plane in truths])
    if case.recipe == "paper":
        images = np.stack([published_image(axial(volume.data, z)) for z in kept])[:, None]
        height, width = bodies.shape[1:]
        spacing = volume.slice_spacing
        spacing = (spacing[0] * height / PAPER_SIZE[0], spacing[1] * width / PAPER_SIZE[1])
        bodies, truths = (np.stack([published_mask(plane) for plane in planes]) for planes in (bodies, truths))
        return Slices(kept, images, bodies, truths.astype(np.uint8), lesion, spacing, volume.spacing[2])
    with _naming(case.image):
        scaled = brain_scale(volume.data, body)
    images = np.stack([axial(scaled, z) for z in kept])[:, None]
    return Slices(kept, images, bodies, truths.astype(np.uint8), lesion, volume.slice_spacing, volume.spacing[2])


@contextmanager
def _naming(file: Path) -> Generator[None]:
    """Adds the file name to errors of rules that do not know it."""
    try:
        yield
    except DataError as error:
        raise DataError(f"{file}: {error.message}.", error.remedy) from error


def _truth(case: Case, volume: Volume, body: NDArray[np.bool_]) -> NDArray[np.bool_]:
    if case.lesions is None:
        return np.zeros(volume.data.shape, dtype=bool)
    if case.labels == ():
        truth = read_binary(case.lesions, volume)
    else:
        found = read_labels(case.lesions, volume)
        strange = sorted(set(np.unique(found).tolist()) - set(case.labels)) if case.labels else []
        if strange:
            raise DataError(
                f"{case.lesions} holds the label {strange[0]}; {case.cohort} has {list(case.labels or ())}.",
                "Check which release the file belongs to.",
            )
        truth = found > 0
    lost = int((truth & ~body).sum())
    if lost > MAX_LOST * max(int(truth.sum()), 1):
        raise DataError(
            f"{case.lesions}: {lost} of {int(truth.sum())} lesion voxels lie outside the brain.",
            "Check that image and mask belong together.",
        )
    return truth & body
