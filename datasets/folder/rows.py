"""A row: one image or volume of a folder with its associated files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from uadbench.core.errors import DataError
from uadbench.data.reading.incoming import Incoming

NAMED = 10
"""Files listed in a message before it only counts the rest."""


@dataclass(frozen=True, slots=True)
class Row:
    """One image or volume.

    Attributes:
        image: Its location and format.
        masks: Its masks, merged; an abnormal image without one has only a label.
        roi: Its region of interest.
        patient: Its patient; "" if unknown.
        series: The patient's volume to which a slice belongs.
        index: Position of a slice in its volume, -1 otherwise.
        split: As written, "" if none.
        abnormal: None if only the mask determines it.
        lacks: A missing associated file, e.g. its mask; "" if none.
    """

    image: Incoming
    masks: tuple[Path, ...] = ()
    roi: Path | None = None
    patient: str = ""
    series: str = ""
    index: int = -1
    split: str = ""
    abnormal: bool | None = None
    lacks: str = ""

    @property
    def place(self) -> Path:
        """The file, or the folder of a DICOM series, to name in messages."""
        return self.image.place

    @property
    def label_only(self) -> bool:
        """Whether the image is abnormal at an unknown location."""
        return bool(self.abnormal) and not self.masks

    @property
    def files(self) -> list[Path]:
        """All files that are read."""
        return [*self.image.files, *self.masks, *([self.roi] if self.roi else [])]

    @property
    def group(self) -> tuple[str, str]:
        """Patient and series."""
        return self.patient, self.series


@dataclass(frozen=True)
class Layout:
    """The contents of a folder.

    Attributes:
        title: Name of the layout.
        rows: Images.
        notes: Lines for the store.
        used: Files used but not part of a row, such as the table.
        modality: Modality according to the layout, "" if unknown.
        labels: Names of the values in its masks, if the layout defines them.
    """

    title: str
    rows: list[Row]
    notes: list[str] = field(default_factory=list[str])
    used: tuple[Path, ...] = ()
    modality: str = ""
    labels: dict[str, int] = field(default_factory=dict[str, int])


@dataclass(frozen=True, slots=True)
class Fault:
    """A file that cannot be used, the error (a sentence that names it) and the remedy."""

    file: Path
    message: str
    remedy: str


def faulty(file: Path, message: str, remedy: str) -> Fault:
    """Returns why a file cannot be used, as a sentence that names it."""
    named = message if file.name in message or str(file.parent) in message else f"{file}: {message}"
    return Fault(file, named if named.endswith(".") else f"{named}.", remedy)


def listed(faults: Sequence[Fault]) -> DataError:
    """Returns the error that lists the first ten bad files and counts the others."""
    if len(faults) == 1:
        return DataError(faults[0].message, f"{faults[0].remedy} Or skip it: --skip-bad.")
    lines = [f"{len(faults)} files cannot be used:"]
    lines += [f"  {fault.message} {fault.remedy}" for fault in faults[:NAMED]]
    if len(faults) > NAMED:
        lines.append(f"  and {len(faults) - NAMED} more.")
    return DataError("\n".join(lines), "\nCorrect them, or skip them: --skip-bad.")
