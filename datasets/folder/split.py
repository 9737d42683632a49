"""Roles by patient: as given, with calibration patients split off if missing, or drawn with a stated seed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from uadbench.core.errors import DataError
from uadbench.core.roles import Role
from uadbench.core.seeding import numpy_generator
from uadbench.data.simulation.draw import draw_roles
from uadbench.datasets.folder.rows import NAMED, Row

SEED = 0
NO_LESIONS = {Role.TRAIN: 0.6, Role.CALIB: 0.2, Role.TEST: 0.2}
HEALTHY = {Role.TEST: 0.25, Role.CALIB: 0.15, Role.TRAIN: 0.6}
LESIONS = {Role.TEST: 0.65, Role.LABELLED: 0.2, Role.VAL: 0.15}
LESIONS_BY_SLICE = {Role.TEST: 0.4, Role.CALIB: 0.15, Role.TRAIN: 0.45}
CALIB_SHARE = 0.2
WRITTEN = {**{role.value: role for role in Role}, "valid": Role.VAL, "validation": Role.VAL, "training": Role.TRAIN}
BY_SLICES = "use their lesion-free slices: --set healthy=slices"


def roles(rows: Sequence[Row], *, by_slice: bool = False) -> tuple[dict[str, Role], list[str]]:
    """Returns the role of each patient, and notes.

    Args:
        rows: Images with patients and labels.
        by_slice: Whether patients with lesions may be in train and calib, with their lesion-free slices.

    Raises:
        DataError: If a split is unknown or incomplete, a patient is in two, or no training patient is left.
    """
    with_split = [row for row in rows if row.split]
    if not with_split:
        return _drawn(rows, by_slice)
    if len(with_split) < len(rows):
        raise DataError(f"{next(r.place for r in rows if not r.split)} has no split.", "Give all or none.")
    found: dict[str, Role] = {}
    sick: list[Row] = []
    for row in rows:
        if row.split not in WRITTEN:
            raise DataError(f"{row.place}: split '{row.split}' is unknown.", f"Known: {', '.join(WRITTEN)}.")
        role = WRITTEN[row.split]
        if found.setdefault(row.patient, role) != role:
            raise DataError(
                f"{row.place}: its patient {row.patient} is in the splits {found[row.patient]} and {role}.",
                "Split by patient.",
            )
        if row.label_only and role in (Role.LABELLED, Role.VAL):
            raise DataError(f"{row.place} has no mask, which role {role} needs.", "Move the patient to test.")
        if row.abnormal and role in (Role.TRAIN, Role.CALIB) and not by_slice:
            sick.append(row)
    if sick:
        named = ", ".join(row.place.as_posix() for row in sick[:NAMED])
        more = f" and {len(sick) - NAMED} more" if len(sick) > NAMED else ""
        raise DataError(
            f"{len(sick)} abnormal images are in train or calib: {named}{more}.",
            f"Move the patients to labelled or test, or {BY_SLICES}.",
        )
    if Role.CALIB in found.values():
        return found, []
    train = sorted(patient for patient, role in found.items() if role == Role.TRAIN)
    if len(train) < 2:
        return found, ["No calib and too few training patients to cut it off."]
    order = numpy_generator("folder-calib", SEED).permutation(len(train))
    count = max(1, round(CALIB_SHARE * len(train)))
    for index in order[:count]:
        found[train[int(index)]] = Role.CALIB
    return found, [f"No calib was given: {count} of {len(train)} training patients were cut off for it, seed {SEED}."]


def _drawn(rows: Sequence[Row], by_slice: bool) -> tuple[dict[str, Role], list[str]]:
    abnormal: defaultdict[str, bool] = defaultdict(bool)
    for row in rows:
        abnormal[row.patient] |= bool(row.abnormal)
    if abnormal and all(abnormal.values()) and not by_slice:
        raise DataError(
            f"All {len(abnormal)} patients have a lesion, so none is left for training.",
            f"Add healthy patients, or {BY_SLICES}.",
        )
    # Images with only a label can be used only for testing.
    found = {row.patient: Role.TEST for row in rows if row.label_only}
    healthy = HEALTHY if any(abnormal.values()) else NO_LESIONS
    for sick, shares in ((False, healthy), (True, LESIONS_BY_SLICE if by_slice else LESIONS)):
        group = [patient for patient, value in abnormal.items() if value == sick and patient not in found]
        found |= draw_roles(group, shares, numpy_generator("folder-split", SEED, int(sick)))
    if Role.TRAIN not in found.values():
        well = sum(not value for value in abnormal.values())
        other = "" if by_slice else f", or {BY_SLICES}"
        raise DataError(
            f"Of {len(abnormal)} patients, {well} have no lesion: too few to train on once calib and test have theirs.",
            f"Add healthy patients, give a split in metadata.csv{other}.",
        )
    return found, [f"The split was drawn by patient with seed {SEED}."]
