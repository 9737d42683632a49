"""Folds: small datasets tested on every patient, each by a model that has not seen the patient.

A folder of folds holds ``folds.json`` and an ordinary store per fold, ``fold-1`` and so on. Every patient is in the
test role of exactly one fold; in the others the lesion-free slices of the patient train or calibrate.
"""

from __future__ import annotations

import shutil
from collections import defaultdict
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from uadbench.core.dataset import Progress
from uadbench.core.errors import DataError, UserError
from uadbench.core.files import atomic_text
from uadbench.core.roles import Role
from uadbench.core.seeding import numpy_generator
from uadbench.data.storage.store import Item, Store, StoreWriter

FILE = "folds.json"
SEED = 1
CALIB = 0.25
"""Share of the patients not tested in a fold that is used for calibration."""

GAP = 2
"""Slices omitted on either side of a lesion if a patient is used for training or calibration."""


class Folds(BaseModel):
    """Contents of ``folds.json``: the stores, in order, with their fingerprints."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    count: int
    fingerprints: list[str]


def fold_folders(source: Path) -> list[Path]:
    """Returns the stores of a folder of folds; none if it is not one.

    Raises:
        DataError: If ``folds.json`` is damaged.
    """
    file = source / FILE
    if not file.exists():
        return []
    try:
        found = Folds.model_validate_json(file.read_bytes())
    except ValidationError as error:
        raise DataError(f"{file} cannot be read.", "Prepare the data again.") from error
    return [source / f"fold-{number}" for number in range(1, found.count + 1)]


def assign(patients: list[str], count: int) -> list[dict[str, Role]]:
    """Returns the role of each patient in each fold: test once, calib and train in rotation.

    Args:
        patients: Names, in any order.
        count: Number of folds.

    Raises:
        UserError: If there are too few patients.
    """
    largest = -(-len(patients) // max(count, 1))
    if count < 2 or len(patients) < count or len(patients) - largest < 2:
        raise UserError(
            f"{len(patients)} patients are too few for {count} folds.",
            "Each fold needs a patient to test, one to calibrate and one to train.",
        )
    names = sorted(patients)
    order = [names[int(n)] for n in numpy_generator("folds", SEED).permutation(len(names))]
    found: list[dict[str, Role]] = []
    for group in np.array_split(np.arange(len(order)), count):
        first, last = int(group[0]), int(group[-1]) + 1
        rest = order[last:] + order[:first]
        calib = max(1, round(CALIB * len(rest)))
        roles = dict.fromkeys(order[first:last], Role.TEST)
        roles |= dict.fromkeys(rest[:calib], Role.CALIB) | dict.fromkeys(rest[calib:], Role.TRAIN)
        found.append(roles)
    return found


def write_folds(base: Store, out: Path, count: int, progress: Progress) -> list[Path]:
    """Writes the folds of a store, whatever its roles are.

    Args:
        base: A store with all patients.
        out: Folder of the folds, created by this call.
        count: Number of folds.
        progress: Called with (done, total, what).

    Raises:
        UserError: If there are too few patients, or the disk is full; nothing half-written is left.
    """
    if out.exists() and any(out.iterdir()):
        raise DataError(f"{out} exists and is not empty.", "Choose another --out or remove it.")
    roles = assign(sorted({item.patient for item in base.items}), count)
    near = _near_lesions(base)
    head = base.manifest
    fingerprints: list[str] = []
    try:
        for number, role_of in enumerate(roles, 1):
            with StoreWriter(
                out / f"fold-{number}",
                dataset=head.dataset,
                version=head.version,
                source=head.source,
                recipe=f"{head.recipe}-fold-{number}-of-{count}",
                polarity=head.polarity,
                modality=head.modality,
                ranked=False,
                organ_masks=head.organ_masks,
                intake=head.intake,
                health_masks=head.health_masks,
                notes=[*head.notes, _note(count)],
            ) as writer:
                for done, item in enumerate(base.items):
                    role = role_of[item.patient]
                    if role == Role.TEST or item.uid not in near:
                        writer.add(
                            uid=item.uid,
                            case=item.case,
                            patient=item.patient,
                            role=role,
                            cohort=item.cohort,
                            image=base.image(item),
                            body=base.body(item),
                            mask=base.mask(item),
                            index=item.index,
                            kind=item.kind,
                            spacing=item.spacing,
                            thickness=item.thickness,
                            label_only=item.lesion and not bool((base.mask(item) == 1).any()),
                        )
                    progress((number - 1) * len(base.items) + done, count * len(base.items), f"fold {number}")
            fingerprints.append(Store(out / f"fold-{number}").manifest.fingerprint)
    except BaseException:
        shutil.rmtree(out, ignore_errors=True)
        raise
    atomic_text(out / FILE, Folds(count=count, fingerprints=fingerprints).model_dump_json(indent=1))
    return fold_folders(out)


def _note(count: int) -> str:
    return (
        f"{count} folds: each patient is tested once, by the model of a fold that has not seen the patient; in the "
        f"other folds the slices at least {GAP + 1} away from any lesion train or calibrate, so that the lesion masks "
        "of all patients chose what is taken for healthy. Never ranked."
    )


def _near_lesions(base: Store) -> set[str]:
    """Returns the uids of items that hold a lesion, or lie within the gap of one in their case."""
    by_case: defaultdict[str, list[Item]] = defaultdict(list)
    for item in base.items:
        by_case[item.case].append(item)
    near: set[str] = set()
    for items in by_case.values():
        lesions = [item.index for item in items if item.lesion]
        near |= {item.uid for item in items if any(abs(item.index - index) <= GAP for index in lesions)}
    return near
