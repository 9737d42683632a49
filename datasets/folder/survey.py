"""A survey of all files before anything is written: finds unusable files and what decides the scale."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from uadbench.core.errors import DataError
from uadbench.data.preprocessing.intake import Intake, Look, look_at
from uadbench.data.reading.incoming import read_stored
from uadbench.datasets.folder.rows import Fault, Row, faulty
from uadbench.datasets.folder.slices import marked_in_picture, marked_in_volume, read_whole


@dataclass(frozen=True)
class Task:
    """A row to survey with its options."""

    row: Row
    told: Intake
    labels: tuple[int, ...]


@dataclass(frozen=True)
class Seen:
    """Survey result of a row.

    Attributes:
        fault: Why it cannot be used; None if it can.
        look: Statistics of a volume; None for 2-D images.
        bits: Bits of a 2-D image, 0 for floats.
        low: Minimum of a 2-D image; ``high`` the maximum.
        high: See ``low``.
        coloured: Whether it is in colour; ``grey_as_colour``: whether three channels are equal.
        grey_as_colour: See ``coloured``.
        marked: Whether its masks are non-empty.
        modality: Modality in the DICOM header.
        black: Share of pixels of a 2-D image that are exactly 0.
        notes: Assumptions.
    """

    fault: Fault | None = None
    look: Look | None = None
    bits: int = 8
    low: float = 0.0
    high: float = 255.0
    coloured: bool = False
    grey_as_colour: bool = False
    marked: bool = False
    modality: str = ""
    black: float = 0.0
    notes: tuple[str, ...] = ()


def survey(task: Task) -> Seen:
    """Surveys a row; errors in its files are part of the result and never raised."""
    row = task.row
    try:
        if row.lacks:
            raise DataError(f"{row.place} has no {row.lacks}.", "Add it, or remove the image.")
        seen = _volume(task) if row.image.shape == "volume" else _picture(task)
        if seen.marked and row.abnormal is False:
            named = row.masks[0] if row.masks else row.place
            raise DataError(f"{named} marks a lesion, but {row.place.name} is labelled normal.", "Correct the label.")
        if row.abnormal and row.masks and not seen.marked:
            raise DataError(
                f"{row.masks[0]} is empty, but {row.place.name} is labelled abnormal.", "Correct the label."
            )
    except DataError as error:
        return Seen(fault=faulty(row.place, error.message, error.remedy))
    except Exception as error:  # a damaged file may raise any error, and must not affect the others
        what = str(error).splitlines()[0] if str(error) else type(error).__name__
        return Seen(fault=faulty(row.place, f"{row.place} cannot be read ({type(error).__name__}: {what}).", ""))
    return seen


def _volume(task: Task) -> Seen:
    volume = read_whole(task.row)
    mask = marked_in_volume(task.row, volume, task.labels)
    look = look_at(volume.data, volume.modality)
    return Seen(look=look, marked=bool(mask.any()), modality=volume.modality, notes=volume.notes)


def _picture(task: Task) -> Seen:
    row = task.row
    frame = read_stored(row.image)
    mask, notes = marked_in_picture(row, frame.pixels.shape[1:], task.labels)
    return Seen(
        bits=frame.bits,
        low=float(frame.pixels.min()),
        high=float(frame.pixels.max()),
        coloured=frame.is_coloured,
        grey_as_colour=len(frame.pixels) == 3 and not frame.is_coloured,
        marked=bool(mask.any()),
        modality=frame.modality,
        black=float((frame.pixels[0] == 0).mean()),
        notes=notes,
    )


def resolved(rows: Sequence[Row], seen: Sequence[Seen]) -> list[Row]:
    """Returns the rows with their labels, including those determined by masks."""
    return [
        replace(row, abnormal=one.marked) if row.abnormal is None else row for row, one in zip(rows, seen, strict=True)
    ]
