"""2-D images that are slices of volumes: which of them make a volume, and its scale, as ``prepare folder`` has it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import PurePath

import numpy as np
from numpy.typing import NDArray

from uadbench.core.errors import DataError
from uadbench.data.preprocessing.intake import GroupScale, Intake, group_scale
from uadbench.data.reading.incoming import Incoming, read_stored
from uadbench.data.reading.naming import named

BY_FOLDER = "no patient is known, scaled together with the slices in the same folder"


def group_scales(
    intake: Intake | None, found: Sequence[Incoming], notes: Counter[str]
) -> dict[str, GroupScale | DataError]:
    """Returns the scale of images that are slices of volumes, by name; the error if a slice of the volume has one.

    A slice that cannot be read costs its whole volume: the others would get another scale without it.

    Args:
        intake: The scale of the store.
        found: All inputs.
        notes: Counts the images whose volume is that of their folder.
    """
    if intake is None or not intake.together:
        return {}
    slices = [one for one in found if one.shape == "frame"]
    series = Counter(one.series for one in slices)
    # A file whose header cannot be read may be of any volume in its folder.
    unread = {one.first.parent for one in slices if one.kind == "dicom" and not _has_header(one)}
    members: dict[tuple[str, ...], list[Incoming]] = {}
    for one in slices:
        key = _volume_of(one, intake, told=one.first.parent not in unread, shared=series[one.series] > 1)
        notes.update([BY_FOLDER] if key[0] == "folder" else [])
        members.setdefault(key, []).append(one)
    scales: dict[str, GroupScale | DataError] = {}
    for group in members.values():
        scale: GroupScale | DataError
        try:
            scale = group_scale([_grey(one) for one in group])
        except DataError as error:
            scale = error
        scales |= {one.name: scale for one in group}
    return scales


def _has_header(one: Incoming) -> bool:
    return bool(one.patient or one.series or one.modality)


def _volume_of(one: Incoming, intake: Intake, *, told: bool, shared: bool) -> tuple[str, ...]:
    """Returns what the slices of a volume have in common, as far as the store and the file tell.

    Args:
        one: A slice.
        intake: The scale of the store.
        told: Whether headers tell the volumes in its folder.
        shared: Whether others are of the same DICOM series; anonymisation may have given each another.
    """
    if intake.patient_pattern:
        path = PurePath(one.name).with_name(one.first.name).as_posix()
        found = named(re.compile(intake.patient_pattern), path)
        if found is not None:
            return "name", found.patient, found.series
    if intake.alone:
        return "alone", one.name
    folder = str(one.first.parent)
    if told and (one.patient or (one.series and shared)):
        part = "" if not intake.loose else one.series if shared and one.series else folder
        return "header", one.patient, part
    return "folder", folder


def _grey(one: Incoming) -> NDArray[np.float32]:
    try:
        return read_stored(one).grey()
    except (ArithmeticError, LookupError, TypeError, ValueError, RuntimeError, OSError) as error:
        # A damaged file may raise any error in any library.
        raise DataError(f"{one.first} cannot be read ({type(error).__name__}).", "Export it again.") from error
