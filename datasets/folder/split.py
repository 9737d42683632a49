"""Roles by patient: as written, with calibration cut off where others have none, or drawn with a stated seed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from uadbench.core.errors import DataError
from uadbench.core.roles import Role
from uadbench.core.seeding import numpy_generator
from uadbench.data.simulation.draw import draw_roles
from uadbench.datasets.folder.rows import Row

SEED = 0
HEALTHY = {Role.TEST: 0.25, Role.CALIB: 0.15, Role.TRAIN: 0.6}
LESIONS = {Role.TEST: 0.65, Role.LABELLED: 0.2, Role.VAL: 0.15}
CALIB_SHARE = 0.2
WRITTEN = {**{role.value: role for role in Role}, "valid": Role.VAL, "validation": Role.VAL, "training": Role.TRAIN}


def roles(rows: Sequence[Row]) -> tuple[dict[str, Role], list[str]]:
    """Returns the role of each patient, and notes.

    Raises:
        DataError: If a split is unknown or given in part, or a patient is in two.
    """
    with_split = [row for row in rows if row.split]
    if not with_split:
        return _drawn(rows)
    if len(with_split) < len(rows):
        raise DataError(f"{next(r.image for r in rows if not r.split)} has no split.", "Give all or none.")
    found: dict[str, Role] = {}
    for row in rows:
        if row.split not in WRITTEN:
            raise DataError(f"{row.image}: split '{row.split}' is unknown.", f"Known: {', '.join(WRITTEN)}.")
        role = WRITTEN[row.split]
        if found.setdefault(row.patient, role) != role:
            raise DataError(
                f"{row.image}: its patient {row.patient} is in the splits {found[row.patient]} and {role}.",
                "Split by patient.",
            )
        if row.label_only and role in (Role.LABELLED, Role.VAL):
            raise DataError(f"{row.image} has no mask, which role {role} needs.", "Move the patient to test.")
        if row.abnormal and role in (Role.TRAIN, Role.CALIB):
            raise DataError(f"{row.image} is abnormal but in split {role}.", "Move the patient to labelled or test.")
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


def _drawn(rows: Sequence[Row]) -> tuple[dict[str, Role], list[str]]:
    abnormal: defaultdict[str, bool] = defaultdict(bool)
    for row in rows:
        abnormal[row.patient] |= row.abnormal
    # What has its label alone can be tested on and nothing else.
    found = {row.patient: Role.TEST for row in rows if row.label_only}
    for sick, shares in ((False, HEALTHY), (True, LESIONS)):
        group = [patient for patient, value in abnormal.items() if value == sick and patient not in found]
        found |= draw_roles(group, shares, numpy_generator("folder-split", SEED, int(sick)))
    return found, [f"The split was drawn by patient with seed {SEED}."]
