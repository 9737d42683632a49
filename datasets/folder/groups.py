"""Relations between the images of a folder: pairs, volumes, neighbours, and unused files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from uadbench.core.dataset import Progress
from uadbench.core.errors import DataError
from uadbench.core.roles import Role
from uadbench.data.preprocessing.intake import GroupScale, Intake, group_scale
from uadbench.data.reading.folder import visible
from uadbench.data.reading.incoming import is_slice, read_stored
from uadbench.data.storage.checks import Pair
from uadbench.data.storage.store import Item
from uadbench.datasets.folder.rows import Layout, Row

LARGE, SMALL = 0.98, 0.02
"""Body area, as shares of the image, outside which a warning is given."""


def expendable(pair: Pair) -> list[Item]:
    """Returns the image of a pair to drop: never one of test, otherwise the second."""
    free = [item for item in (pair.one, pair.other) if item.role != Role.TEST]
    return free[-1:]


def linked(pairs: Sequence[set[str]]) -> list[set[str]]:
    """Returns the connected groups of pairs."""
    groups: list[set[str]] = []
    for pair in pairs:
        touched = [group for group in groups if group & pair]
        groups = [group for group in groups if not group & pair] + [pair.union(*touched)]
    return groups


def joined(rows: Sequence[Row], groups: Sequence[set[str]]) -> list[Row]:
    """Returns the rows with each group of patients as one, whose volumes stay apart."""
    owner = {patient: min(group) for group in groups for patient in group}
    return [
        replace(row, patient=owner[row.patient], series=f"{row.patient}/{row.series}") if row.patient in owner else row
        for row in rows
    ]


def number(row: Row, rows: Sequence[Row]) -> int:
    """Returns the series of a row among those of its patient."""
    return sorted({other.series for other in rows if other.patient == row.patient}).index(row.series)


def numbered(rows: Sequence[Row]) -> list[Row]:
    """Returns the rows with numbered slices in DICOM files as 2-D images, scaled together with their volume.

    Those of CT stay volumes of one slice: Hounsfield units need no common scale.

    Raises:
        DataError: If a volume has a slice number.
    """
    told: list[Row] = []
    for row in rows:
        if row.index >= 0 and row.image.shape == "volume":
            if not is_slice(row.image):
                raise DataError(
                    f"{row.place} is a volume, and its slice number {row.index} says that it is one slice.",
                    "Leave the number of volumes out, or list the files of the slices.",
                )
            told.append(row if row.image.modality == "CT" else replace(row, image=replace(row.image, shape="frame")))
        else:
            told.append(row)
    return told


def scales(rows: Sequence[Row], progress: Progress) -> dict[tuple[str, str], GroupScale]:
    """Returns the scale of each volume that is given as 2-D images."""
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        if row.image.shape == "frame":
            groups.setdefault(row.group, []).append(row)
    found: dict[tuple[str, str], GroupScale] = {}
    for done, (key, members) in enumerate(groups.items()):
        progress(done, len(groups), f"scale of {members[0].place.name}")
        slices: list[NDArray[np.float32]] = [read_stored(row.image).grey() for row in members]
        try:
            found[key] = group_scale(slices)
        except DataError as error:
            raise DataError(f"{members[0].place}: {error.message}.", error.remedy) from error
    return found


def near(rows: Sequence[Row], gap: int) -> set[str]:
    """Returns the names of healthy numbered slices within a gap of a lesion in their volume."""
    lesions: dict[tuple[str, str], list[int]] = {}
    for row in rows:
        if row.abnormal and row.index >= 0:
            lesions.setdefault(row.group, []).append(row.index)
    return {
        row.image.name
        for row in rows
        if row.index >= 0 and any(abs(row.index - index) <= gap for index in lesions.get(row.group, ()))
    }


def unused(source: Path, layout: Layout) -> list[str]:
    """Lists files that belong to no row, by folder and ending."""
    used = {file for row in layout.rows for file in row.files} | set(layout.used)
    counts = Counter[str]()
    for file in visible(source):
        if file not in used:
            folder = file.relative_to(source).parent.as_posix()
            where = "" if folder == "." else f" in {folder}/"
            counts[f"{file.suffix or file.name}{where}"] += 1
    shown = sorted(counts.items())[:12]
    rest = counts.total() - sum(count for _, count in shown)
    text = ", ".join(f"{count} {what}" for what, count in shown) + (f" and {rest} more" if rest else "")
    return [f"Found and not used: {text}."] if counts else []


def odd_bodies(shares: Sequence[float], intake: Intake, rows: Sequence[Row]) -> list[str]:
    """Warns of bodies that fill nearly the whole image or almost nothing."""
    volumes = any(row.image.shape == "volume" for row in rows)
    if intake.body == "frame" or not (volumes or intake.finds_body) or any(row.roi for row in rows):
        return []
    large, small = sum(one > LARGE for one in shares), sum(one < SMALL for one in shares)
    notes = [f"The body fills over 98 % of {large} of {len(shares)} images: is there a background?"] if large else []
    return [*notes, f"The body fills under 2 % of {small} of {len(shares)} images."] if small else notes


def doubtful_patients(rows: Sequence[Row], unsure: set[int], role_of: dict[str, Role]) -> set[str]:
    """Returns the patients who could count as healthy only because a file of theirs cannot be read.

    Args:
        rows: All images with their labels.
        unsure: Positions of bad files that are or may be abnormal.
        role_of: Role of each patient.
    """
    sick = {row.patient for row in rows if row.abnormal}
    unread = {rows[n].patient for n in unsure}
    return {one for one in unread if one not in sick or role_of[one] in (Role.TRAIN, Role.CALIB)}


def counted_by(rows: Sequence[Row], role_of: dict[str, Role], *, by_slice: bool) -> list[str]:
    """Returns notes on what the metrics of a store mean."""
    blind = sum(row.label_only for row in rows)
    if not any(row.abnormal for row in rows):
        return ["There are no lesions: only false alarms on healthy images can be counted."]
    if by_slice:
        sick = {row.patient for row in rows if row.abnormal and role_of[row.patient] in (Role.TRAIN, Role.CALIB)}
        return [f"healthy=slices: {len(sick)} patients with lesions are in train and calib, their masks chose slices."]
    return [f"{blind} abnormal images have no mask: image AUROC and AP alone."] if blind else []
