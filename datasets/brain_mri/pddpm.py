"""The prepared layout of pDDPM (Behrendt et al. 2023, arXiv 2303.03758): registered, brain-extracted, cropped volumes.

``Train/ixi/{mask,t2}``, ``Test/{Brats21,MSLUB}/{mask,t2,seg}`` and ``splits/*.csv``, whose column img_path names the
images of ``IXI_train_fold0``, ``IXI_val_fold0``, ``IXI_test``, ``Brats21_val``, ``Brats21_test``, ``MSLUB_val`` and
``MSLUB_test``. An image and its masks begin with the same identifier.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path, PurePosixPath

import pandas as pd

from uadbench.core.errors import DataError
from uadbench.core.roles import Role
from uadbench.data.reading.folder import files
from uadbench.datasets.brain_mri.cases import Case

TITLE = "pDDPM (Train/ixi, Test/{Brats21,MSLUB,...})"
KINDS = {"brats21": "tumour", "mslub": "ms", "atlas": "stroke", "wmh": "wmh"}
ROLES = {"train": Role.TRAIN, "val": Role.CALIB, "test": Role.TEST}
FOLD = "fold0"


def find(source: Path, modality: str) -> list[Case]:
    """Returns the cases of the layout with roles from ``splits``, empty if the folder has another layout.

    Raises:
        DataError: If a mask is missing, or a split lists a missing image.
    """
    cases: list[Case] = []
    for folder in sorted([*source.glob("Train/*"), *source.glob("Test/*")]):
        images = _by_identifier(source, folder / modality)
        healthy = folder.parent.name == "Train"
        brains = _by_identifier(source, folder / "mask")
        lesions = {} if healthy else _by_identifier(source, folder / "seg")
        for name, image in images.items():
            for what, masks in (("mask", brains), ("seg", lesions)):
                if name not in masks and not (healthy and what == "seg"):
                    raise DataError(f"{image} has no mask in {folder / what}.", "Prepare it again or remove the image.")
            cohort = folder.name.lower()
            cases.append(
                Case(
                    f"{cohort}-{name}",
                    cohort,
                    None,
                    image,
                    lesions.get(name),
                    brain=brains[name],
                    labels=None,
                    kind="" if healthy else KINDS.get(cohort, "lesion"),
                )
            )
    return _with_roles(source, cases) if (source / "splits").is_dir() else cases


def _with_roles(source: Path, cases: list[Case]) -> list[Case]:
    """Returns the cases listed in the split files."""
    by_key = {(case.cohort, _identifier(case.image.name)): case for case in cases}
    chosen: list[Case] = []
    for file in files(source / "splits", "*.csv"):
        match = re.fullmatch(r"(\w+?)_(train|val|test)(?:_(fold\d+))?\.csv", file.name)
        if match is None or match[3] not in (None, FOLD):
            continue
        cohort = match[1].lower()
        if not any(case.cohort == cohort for case in cases):
            continue
        for name in _names(file):
            case = by_key.pop((cohort, _identifier(name)), None)
            if case is None:
                raise DataError(f"{file} lists {name}, which is missing (or occurs twice).", "Correct the file.")
            role = Role.VAL if case.lesions and match[2] == "val" else ROLES[match[2]]
            chosen.append(replace(case, role=role))
    return chosen


def _names(file: Path) -> list[str]:
    try:
        table = pd.read_csv(file, dtype=str)
    except (OSError, ValueError) as error:
        raise DataError(f"{file} cannot be read: {error}.", "Download it again.") from error
    if "img_path" not in table.columns or table["img_path"].isna().any():
        raise DataError(f"{file} has no column img_path, or it has empty cells.", "Download it again.")
    return [PurePosixPath(path).name for path in table["img_path"]]


def _by_identifier(source: Path, folder: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in files(folder, "*.nii", "*.nii.gz") if folder.is_dir() else []:
        # ``files`` checks links in the folder, but the folder may be a link too.
        if not path.resolve().is_relative_to(source.resolve()):
            raise DataError(f"{path} leaves the folder {source}.", "Copy the file into the folder.")
        name = _identifier(path.name)
        if name in found:
            raise DataError(f"{path} and {found[name]} are the same case.", "Keep one of them.")
        found[name] = path
    return found


def _identifier(name: str) -> str:
    """Returns the common part of the names of an image and its masks, up to the last number."""
    stem = re.sub(r"\.nii(\.gz)?$", "", name)
    stem = re.sub(r"[_-](flair|t1ce|t1c|t1|t2|seg|mask|brain)(?=$|[_-])", "", stem, flags=re.IGNORECASE)
    return stem.lower()
