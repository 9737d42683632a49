"""The public layouts of liver CT: files, labels and roles."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from uadbench.core.errors import DataError
from uadbench.core.roles import Role
from uadbench.core.seeding import numpy_generator
from uadbench.data.reading.folder import files
from uadbench.datasets.liver_ct import chaos
from uadbench.datasets.liver_ct.cases import Case
from uadbench.datasets.liver_ct.chaos import Pair

KNOWN = (
    "LiTS (volume-N.nii, segmentation-N.nii), MSD Task03_Liver (imagesTr, labelsTr), BTCV (imgNNNN, labelNNNN), "
    "CHAOS (Train_Sets/CT/N/DICOM_anon with Ground), BMAD liver (train/good, test/{good,Ungood}), "
    "a CT with *liver_mask*.nii.gz"
)
SPLIT = Path(__file__).parent / "splits" / "lits-v1.json"
LESIONS_WITH_HEALTHY = {Role.LABELLED: 0.2, Role.VAL: 0.1, Role.TEST: 0.7}
HEALTHY = {Role.TRAIN: 0.7, Role.CALIB: 0.15, Role.TEST: 0.15}
LIVER = {"btcv": (6,), "chaos": (1,)}
OWN_HEALTHY = "Train and calibration are slices without tumour of tumour patients: their own kind of healthy."
NIFTI = (".nii", ".nii.gz")


@dataclass(frozen=True)
class Found:
    """Contents of a folder."""

    title: str = ""
    cases: list[Case] = field(default_factory=list[Case])
    volumes: bool = True
    ranked: bool = True
    notes: list[str] = field(default_factory=list[str])


def find(source: Path) -> Found:
    """Recognises the layouts in a folder; LiTS or MSD together with BTCV or CHAOS is one dataset of several cohorts.

    Raises:
        DataError: If one half of a pair is missing, or LiTS and MSD (the same patients) are both present.
    """
    lits = _pairs(source, r"volume-(\d+)", "segmentation-{}", "lits")
    msd = _pairs(source, r"liver_(\d+)", "liver_{}", "msd", folders=("imagesTr", "labelsTr"))
    btcv = _pairs(source, r"img(\d+)", "label{}", "btcv")
    if lits and msd:
        raise DataError(f"{source} holds LiTS and MSD Task03, which are the same patients.", "Keep one of them.")
    healthy = {name: pairs for name, pairs in (("BTCV", btcv), ("CHAOS", chaos.pairs(source))) if pairs}
    if lits or msd:
        return _tumours(lits or msd, healthy)
    if healthy:
        note = "Healthy volumes alone: nothing to detect, for training and controls."
        return Found(" and ".join(healthy), _healthy(healthy), ranked=False, notes=[note])
    return _bmad(source) or _masked(source)


def _pairs(source: Path, pattern: str, partner: str, cohort: str, folders: tuple[str, str] | None = None) -> list[Pair]:
    """Returns (cohort, number, image, labels) of every image with its labels, sorted by number."""
    every = files(source, "*.nii", "*.nii.gz")
    labels = {_stem(path): path for path in every if folders is None or path.parent.name == folders[1]}
    found: dict[str, Pair] = {}
    for path in every:
        match = re.fullmatch(pattern, _stem(path))
        if not match or (folders is not None and path.parent.name != folders[0]):
            continue
        number = match[1]
        if number in found:
            raise DataError(f"{path} and {found[number][2]} are the same patient.", "Keep one of them.")
        wanted = partner.format(number)
        if wanted not in labels:
            raise DataError(f"{path} has no partner {wanted}.nii.", "Download it or remove the volume.")
        found[number] = (cohort, number, path, labels[wanted])
    return [found[number] for number in sorted(found, key=int)]


def _stem(path: Path) -> str:
    return path.name.removesuffix(".gz").removesuffix(".nii")


def _tumours(pairs: list[Pair], healthy: dict[str, list[Pair]]) -> Found:
    cohort = pairs[0][0]
    title = {"lits": "LiTS", "msd": "MSD Task03_Liver"}[cohort]
    if healthy:
        drawn = _drawn(pairs, cohort, LESIONS_WITH_HEALTHY)
        names = " and ".join(healthy)
        notes = [f"Training is of another cohort ({names}) than the lesions: compare with a healthy control."]
        cases = [*_healthy(healthy), *(_tumour(*pair, role) for pair, role in drawn)]
        return Found(f"{title} with {names}", cases, notes=notes)
    roles = committed_split()
    unknown = next((pair for pair in pairs if int(pair[1]) not in roles), None)
    if unknown:
        raise DataError(f"{unknown[2]} is not in the committed split {SPLIT.name}.", "Use the original file names.")
    present = {roles[int(pair[1])] for pair in pairs}
    complete = {Role.TRAIN, Role.CALIB, Role.TEST} <= present
    notes = [OWN_HEALTHY] if complete else [OWN_HEALTHY, "A part of the data: some roles are empty; never ranked."]
    return Found(title, [_tumour(*pair, roles[int(pair[1])]) for pair in pairs], ranked=complete, notes=notes)


def _tumour(cohort: str, number: str, image: Path, labels: Path, role: Role) -> Case:
    return Case(f"{cohort}-{int(number):03d}", cohort, role, image, labels, (1,), (2,))


def _healthy(cohorts: dict[str, list[Pair]]) -> list[Case]:
    """Draws the roles of healthy patients separately in each cohort, so that they do not depend on other cohorts."""
    return [
        Case(f"{cohort}-{int(number):04d}", cohort, role, image, labels, LIVER[cohort])
        for pairs in cohorts.values()
        for (cohort, number, image, labels), role in _drawn(pairs, pairs[0][0], HEALTHY)
    ]


def committed_split() -> dict[int, Role]:
    """Returns the role of each LiTS patient (MSD Task03 has the same numbers)."""
    split: dict[str, list[int]] = json.loads(SPLIT.read_text())
    return {number: Role(role) for role, numbers in split.items() for number in numbers}


def _drawn(pairs: list[Pair], cohort: str, shares: dict[Role, float]) -> list[tuple[Pair, Role]]:
    """Draws roles by patient; deterministically."""
    order = numpy_generator("liver-split", 1, cohort).permutation(len(pairs))
    ends: list[tuple[float, Role]] = []
    for role, share in shares.items():
        ends.append(((ends[-1][0] if ends else 0.0) + share, role))
    last = ends[-1][1]
    ranks = {int(index): (rank + 0.5) / len(pairs) for rank, index in enumerate(order)}
    return [(pair, next((role for end, role in ends if ranks[i] < end), last)) for i, pair in enumerate(pairs)]


def _bmad(source: Path) -> Found | None:
    roles = {"train": Role.TRAIN, "valid": Role.VAL, "test": Role.TEST}
    cases: list[Case] = []
    for path in files(source, "*.png"):
        parts = path.relative_to(source).parts[:-1]
        part = next((name for name in parts if name in roles), "")
        good = next((name for name in parts if name in ("good", "Ungood")), "")
        if not part or not good or "label" in parts:
            continue
        labels = path.parent.parent / "label" / path.name
        if good == "Ungood" and not labels.is_file():
            raise DataError(f"{path} has no label {labels.name} in {labels.parent}.", "Download it again.")
        name = f"bmad-{part}-{good.lower()}-{path.stem}"
        role = roles[part]
        cases.append(Case(name, "bmad", role, path, labels if good == "Ungood" else None, patient=name))
    note = "BMAD names no patients: images of one patient may be in several roles, and grey levels are theirs."
    return Found("BMAD liver", _calib(cases), volumes=False, ranked=False, notes=[note]) if cases else None


def _calib(cases: list[Case]) -> list[Case]:
    """Splits off every tenth training image for calibration."""
    train = [case for case in cases if case.role == Role.TRAIN]
    moved: set[str] = {case.name for case in train[::10]} if len(train) > 1 else set()
    make: Callable[[Case], Case] = lambda c: Case(c.name, c.cohort, Role.CALIB, c.image, c.labels, patient=c.patient)  # noqa: E731
    return [make(case) if case.name in moved else case for case in cases]


def _masked(source: Path) -> Found:
    """Any CT with a liver mask: ``NAME_liver_mask*.nii.gz`` or TotalSegmentator's labels, where 5 is the liver."""
    masks = files(source, "*liver_mask*.nii", "*liver_mask*.nii.gz")
    images = [path for path in files(source, "*_ct*.nii", "*_ct*.nii.gz") if path not in masks]
    cases: list[Case] = []
    left: list[str] = []
    for mask in masks:
        prefix = _stem(mask).split("_liver_mask")[0]
        mine = [path for path in images if _stem(path).startswith(prefix)]
        fitting = [path for path in mine if _shape(path) == _shape(mask)]
        if len(fitting) != 1:
            raise DataError(
                f"{mask} matches {len(fitting)} of the CT volumes next to it.", "Keep the one it was drawn on."
            )
        left += [path.name for path in mine if path not in fitting]
        cases.append(Case(f"ct-{_stem(fitting[0])}", "own", Role.TEST, fitting[0], mask))
    notes = ["Volumes with a liver mask and no lesion labels: test only, for looking at maps, never ranked."]
    notes += [f"{name} has no liver mask and was left out." for name in left]
    return Found("CT with liver masks", cases, ranked=False, notes=notes) if cases else Found()


def _shape(path: Path) -> tuple[int, ...]:
    from uadbench.data.reading.nifti import read_volume

    return read_volume(path).data.shape
