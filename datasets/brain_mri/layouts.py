"""The public folder layouts of brain MRI: their files, and which belong together.

A layout finds the cases of one cohort, independent of roles (``roles.py``) and pixels (``cases.py``).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from uadbench.core.errors import DataError
from uadbench.data.reading.folder import files, inside
from uadbench.datasets.brain_mri.cases import Case

MODALITIES = ("flair", "t2", "t1", "t1c")
NIFTI = r"\.nii(?:\.gz)?"


@dataclass(frozen=True, eq=False)
class Layout:
    """One published cohort.

    Attributes:
        cohort: Short name.
        title: Name in messages.
        names: Its modalities and their names in files.
        find: Returns the cases below a folder for a modality's file name; none if there are none.
        healthy: Whether its subjects have no lesions.
    """

    cohort: str
    title: str
    names: Mapping[str, str]
    find: Callable[[Path, str], list[Case]]
    healthy: bool = False


def _brats21(source: Path, name: str) -> list[Case]:
    return [
        Case(
            match[1],
            "brats21",
            None,
            image,
            _partner(source, image, f"{match[1]}_seg"),
            labels=(0, 1, 2, 4),
            kind="tumour",
        )
        for image, match in _matching(source, f"BraTS2021_*_{name}", rf"(BraTS2021_\d{{5}})_{name}")
    ]


def _brats23(source: Path, name: str) -> list[Case]:
    # Patient 00005 may have the time points 000 and 001: two cases of one patient.
    return [
        Case(
            match[1],
            "brats23",
            None,
            image,
            _partner(source, image, f"{match[1]}-seg"),
            labels=(0, 1, 2, 3),
            patient=match[1].rpartition("-")[0],
            kind="tumour",
        )
        for image, match in _matching(source, f"BraTS-GLI-*-{name}", rf"(BraTS-GLI-\d{{5}}-\d{{3}})-{name}")
    ]


def _ixi(source: Path, name: str) -> list[Case]:
    return [
        Case(match[1], "ixi", None, image, brain=_brain_mask(source, image))
        for image, match in _matching(source, f"IXI*-{name}", rf"(IXI\d{{3}})-\w+-\d{{4}}-{name}")
    ]


def _atlas(source: Path, name: str) -> list[Case]:
    space = "space-MNI152NLin2009aSym"
    return [
        Case(
            f"atlas-{match[2]}-{match[3]}",
            "atlas",
            None,
            image,
            _partner(source, image, f"{match[1]}_{space}_label-L_desc-T1lesion_mask"),
            brain=_brain_mask(source, image),
            patient=f"atlas-{match[2]}",
            kind="stroke",
        )
        for image, match in _matching(source, f"sub-*_{space}_{name}", rf"(sub-(r\d+s\d+)_ses-(\d+))_{space}_{name}")
    ]


def _mslub(source: Path, name: str) -> list[Case]:
    images = _by_patient(source, name)
    lesions = _by_patient(source, "lesions")
    for patient in sorted(images.keys() ^ lesions.keys()):
        if not images:
            return []
        have = images.get(patient) or lesions[patient]
        what = "lesions" if patient in images else name
        raise DataError(f"{have} has no partner {patient}_{what}_MNI.nii.gz.", "Download it or remove the patient.")
    return [
        Case(f"mslub-{patient.removeprefix('patient')}", "mslub", None, images[patient], lesions[patient], kind="ms")
        for patient in sorted(images)
    ]


LAYOUTS = (
    Layout(
        "brats21",
        "BraTS 2021 (BraTS2021_XXXXX/*_{flair,t1,t1ce,t2,seg}.nii.gz)",
        {"flair": "flair", "t2": "t2", "t1": "t1", "t1c": "t1ce"},
        _brats21,
    ),
    Layout(
        "brats23",
        "BraTS 2023 GLI (BraTS-GLI-XXXXX-XXX/*-{t2f,t2w,t1n,t1c,seg}.nii.gz)",
        {"flair": "t2f", "t2": "t2w", "t1": "t1n", "t1c": "t1c"},
        _brats23,
    ),
    Layout("ixi", "IXI (IXINNN-SITE-NNNN-{T1,T2}.nii.gz with brain masks)", {"t2": "T2", "t1": "T1"}, _ixi, True),
    Layout("atlas", "ATLAS v2 (sub-*_space-MNI152NLin2009aSym_T1w.nii.gz)", {"t1": "T1w"}, _atlas),
    Layout(
        "mslub",
        "MSLUB (patientNN_FLAIR_MNI.nii.gz with lesion masks)",
        {"flair": "FLAIR", "t2": "T2W", "t1": "T1W", "t1c": "T1WKS"},
        _mslub,
    ),
)


def _matching(source: Path, pattern: str, expression: str) -> list[tuple[Path, re.Match[str]]]:
    """Returns the images whose full name matches, one per case, in the order of the cases.

    Raises:
        DataError: If two files are the same case.
    """
    found: dict[str, tuple[Path, re.Match[str]]] = {}
    for path in files(source, f"{pattern}.nii", f"{pattern}.nii.gz"):
        match = re.fullmatch(expression + NIFTI, path.name)
        if match and match[1] in found:
            raise DataError(f"{path} and {found[match[1]][0]} are the same case.", "Keep one of them.")
        if match:
            found[match[1]] = (path, match)
    return [found[name] for name in sorted(found)]


def _partner(source: Path, image: Path, stem: str) -> Path:
    for end in (".nii.gz", ".nii"):
        path = image.with_name(stem + end)
        if path.exists():
            return inside(source, path)
    raise DataError(f"{image} has no partner {stem}.nii.gz.", "Download the training set, or remove the case.")


def _brain_mask(source: Path, image: Path) -> Path | None:
    """Returns the brain mask that an extraction tool saved next to the image."""
    stem, _, end = image.name.partition(".nii")
    for path in (image.with_name(f"{stem}{tool}_mask.nii{end}") for tool in ("", "_bet", "_brain")):
        if path.exists():
            return inside(source, path)
    return None


def _by_patient(source: Path, what: str) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in files(source, f"patient*_{what}*.nii", f"patient*_{what}*.nii.gz"):
        match = re.fullmatch(rf"(patient\d+)_{what}(?:_MNI)?{NIFTI}", path.name)
        if not match:
            continue
        if match[1] in found:
            raise DataError(f"{path} and {found[match[1]]} are the same patient.", "Keep one of them.")
        found[match[1]] = path
    return found
