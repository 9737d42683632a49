"""MSLUB: FLAIR of multiple-sclerosis patients in MNI space with consensus lesion masks.

Files: ``patientNN_FLAIR_MNI.nii.gz`` and ``patientNN_lesions_MNI.nii.gz``, in one folder or a folder a patient.
Lesjak et al., Neuroinformatics 2018, doi:10.1007/s12021-017-9348-7; CC BY.
"""

from __future__ import annotations

import re
from pathlib import Path

from uadbench.core.errors import DataError
from uadbench.core.roles import Role
from uadbench.data.folder import files
from uadbench.datasets.brain_mri.cases import Case

TITLE = "MSLUB (patientNN_FLAIR_MNI.nii.gz with lesion masks)"
NOTES = [
    "A slice without lesion comes from the same patients: brain area alone separates the two classes with an image "
    "AUROC of 0.90, so image-level metrics mean nothing here.",
    "A test-only set of patients with lesions: never ranked.",
]


def find(source: Path) -> list[Case]:
    """Returns the cases of the layout, none if the folder holds another.

    Raises:
        DataError: If one half of a pair is missing.
    """
    images = _by_patient(source, "FLAIR")
    lesions = _by_patient(source, "lesions")
    for patient in sorted(images.keys() ^ lesions.keys()):
        have = images.get(patient) or lesions[patient]
        what = "lesions" if patient in images else "FLAIR"
        raise DataError(f"{have} has no partner {patient}_{what}_MNI.nii.gz.", "Download it or remove the patient.")
    return [
        Case(f"mslub-{name.removeprefix('patient')}", "mslub", Role.TEST, images[name], lesions[name], kind="ms")
        for name in sorted(images)
    ]


def _by_patient(source: Path, what: str) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in files(source, f"patient*_{what}*.nii", f"patient*_{what}*.nii.gz"):
        match = re.fullmatch(rf"(patient\d+)_{what}(_MNI)?\.nii(\.gz)?", path.name)
        if not match:
            continue
        if match[1] in found:
            raise DataError(f"{path} and {found[match[1]]} are the same patient.", "Keep one of them.")
        found[match[1]] = path
    return found
