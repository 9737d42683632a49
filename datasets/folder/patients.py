"""Patients of images: from a table's column, a pattern in the names, or DICOM headers."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from uadbench.core.errors import DataError, UserError
from uadbench.data.reading.formats import stem_of
from uadbench.data.reading.naming import named
from uadbench.datasets.folder.rows import NAMED, Row

OFFERED = (
    (r"^[^/]+/([^/]+)/", "folders"),
    (r"([A-Za-z]*\d+)[_-]\d+[^/]*$", "names"),
    (r"([^/]*[^/_-])[_-](?:slice|z|img|frame)?[_-]?\d+[^/]*$", "names"),
)
"""Patterns tried on paths in order to suggest one, and what they match."""


def compiled(pattern: str) -> re.Pattern[str]:
    """Returns a pattern.

    Raises:
        UserError: If it is not a regular expression.
    """
    try:
        return re.compile(pattern)
    except re.error as error:
        raise UserError(f"--patient-pattern '{pattern}' is not a regular expression: {error}.", "Quote it.") from error


def with_patients(source: Path, rows: Sequence[Row], pattern: str) -> tuple[list[Row], list[str], bool]:
    """Returns rows with patients, notes, and whether the patients are known.

    Args:
        source: Folder that names are relative to.
        rows: The images.
        pattern: Extracts the patient from a path, and series and slice from groups of these names. "" for none.

    Raises:
        DataError: Listing the images in which the pattern finds no patient, or if two patients differ only in case.
        UserError: If the pattern is invalid.
    """
    if pattern:
        told, notes, known = _by_pattern(source, rows, compiled(pattern))
        return _one_spelling(told), notes, known
    if all(row.patient for row in rows):
        return _one_spelling(rows), [], True
    named = {row.image.patient for row in rows}
    if "" not in named and len(named) > 1:
        told = [replace(row, patient=row.image.patient) for row in rows]
        return _one_spelling(told), [f"Patients by the PatientID of DICOM: {len(named)}."], True
    alone = [replace(row, patient=row.image.name) for row in rows]
    notes = ["No patients are named: each image or volume counts as a patient, and the store is never ranked."]
    offered = offer([row.image.name for row in rows])
    if offered:
        notes.append(f"Names look as if they told patients: --patient-pattern '{offered[0]}' finds {offered[1]}.")
    return alone, notes, False


def _one_spelling(rows: Sequence[Row]) -> list[Row]:
    """Returns the rows; patients that differ only in case or spaces are most likely one, whose split would leak."""
    known: dict[str, str] = {}
    for row in rows:
        other = known.setdefault(row.patient.strip().casefold(), row.patient)
        if other != row.patient:
            raise DataError(
                f"Patients {other!r} and {row.patient!r} ({row.image.name}) differ only in case or spaces.",
                "Spell a patient the same way everywhere, or rename one of two patients.",
            )
    return list(rows)


def offer(names: Sequence[str]) -> tuple[str, int] | None:
    """Returns a pattern that fits the names, with the number of patients it finds; None if there is none."""
    for pattern, _ in OFFERED:
        found = Counter(match.group(1) for name in names if (match := re.search(pattern, name)))
        several = sum(count for count in found.values() if count > 1)
        if len(found) > 2 and 2 * several > len(names) and sum(found.values()) == len(names):
            return pattern, len(found)
    return None


def _by_pattern(source: Path, rows: Sequence[Row], pattern: re.Pattern[str]) -> tuple[list[Row], list[str], bool]:
    told: list[Row] = []
    missed: list[str] = []
    for row in rows:
        name = row.place.relative_to(source).as_posix()
        found = named(pattern, name)
        if found is None:
            missed.append(name)
            continue
        index = found.index if found.index >= 0 else row.index
        told.append(replace(row, patient=found.patient, series=found.series or row.series, index=index))
    if missed:
        more = f" and {len(missed) - NAMED} more" if len(missed) > NAMED else ""
        raise DataError(
            f"--patient-pattern '{pattern.pattern}' finds no patient in {', '.join(missed[:NAMED])}{more}.",
            f"It is matched against paths below the source; the stem of the first is {stem_of(Path(missed[0]))}.",
        )
    count = len({row.patient for row in told})
    return told, [f"Patients by --patient-pattern: {count} in {len(told)} images."], True
