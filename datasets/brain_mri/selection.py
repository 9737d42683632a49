"""Selection of slices for the store, and notes on it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from uadbench.core.errors import DataError
from uadbench.core.roles import Role
from uadbench.core.seeding import derive_seed
from uadbench.data.reading.nifti import read_volume
from uadbench.datasets.brain_mri.cases import PAPER_SLICES, Case

PAPER_ANOMALOUS = 1000
PAPER_COHORTS = ("brats21", "brats23")

NOTES = {
    "mslub": (
        "A slice without lesion comes from the same patients: brain area alone separates the two classes with an image "
        "AUROC of 0.90, so image-level metrics mean nothing here."
    ),
    "test only": "A test-only set of patients with lesions: never ranked.",
    "own": (
        "Healthy images of train and calib are lesion-free slices of patients with lesions: what a lesion does to the "
        "rest of its brain is learnt as normal."
    ),
    "paper": (
        "Recipe 'paper': slices 80-99, resized to 128 x 128, then each from its own least to its greatest value; test "
        "holds lesion slices alone, at most 1000, so false positives on healthy slices go unseen. Patients stay apart, "
        "unlike in the published code. Never ranked."
    ),
}


class Selection:
    """The slices of a recipe.

    ``strict`` uses every slice, in train and calib only those without a lesion. ``paper`` uses Synomaly's choice:
    lesion-free slices to train on, and a draw of at most 1000 slices with a lesion to test on (Bi et al. 2025).

    Args:
        cases: All cases of the source, with roles and recipe.

    Raises:
        DataError: If the recipe does not exist for a cohort.
    """

    def __init__(self, cases: Sequence[Case]) -> None:
        self._drawn: set[tuple[str, int]] | None = None
        if any(case.recipe == "paper" for case in cases):
            strange = sorted({case.cohort for case in cases} - set(PAPER_COHORTS))
            if strange:
                raise DataError(f"{strange[0]} has no recipe 'paper': it is defined for BraTS.", "Use --recipe strict.")
            self._drawn = _draw([case for case in cases if case.role == Role.TEST])

    def takes(self, case: Case, z: int, lesion: bool) -> bool:
        """Whether a slice is included in the store."""
        if case.role in (Role.TRAIN, Role.CALIB):
            return not lesion
        if self._drawn is None:
            return True
        return (case.name, z) in self._drawn if case.role == Role.TEST else lesion


def notes_of(cases: Sequence[Case], modality: str) -> list[str]:
    """Returns the notes for the records of a store."""
    notes = [] if modality == "flair" else [f"Modality {modality}."]
    if any(case.cohort == "mslub" for case in cases):
        notes.append(NOTES["mslub"])
    if all(case.role == Role.TEST for case in cases):
        notes.append(NOTES["test only"])
    if any(case.lesions and case.role in (Role.TRAIN, Role.CALIB) for case in cases):
        notes.append(NOTES["own"])
    if any(case.recipe == "paper" for case in cases):
        notes.append(NOTES["paper"])
    return notes


def _draw(cases: Sequence[Case]) -> set[tuple[str, int]]:
    """Draws slices with a lesion; in an order independent of what else was downloaded."""
    anomalous: list[tuple[int, str, int]] = []
    for case in cases:
        if case.lesions is not None:
            found = np.flatnonzero((read_volume(case.lesions).data > 0).any((0, 1)))
            slices = [int(z) for z in found if int(z) in PAPER_SLICES]
            anomalous += [(derive_seed("brain_mri", "paper", case.name, z), case.name, z) for z in slices]
    return {(name, z) for _, name, z in sorted(anomalous)[:PAPER_ANOMALOUS]}
