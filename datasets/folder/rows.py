"""A row: one image or volume of a folder with what belongs to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from uadbench.core.errors import DataError
from uadbench.data.reading.incoming import Incoming

NAMED = 10
"""Files that a message names before it counts the rest."""


@dataclass(frozen=True, slots=True)
class Row:
    """One image or volume.

    Attributes:
        image: Where it is and how it is read.
        masks: Its masks, united; an abnormal image without one has its label alone.
        roi: Its region of interest.
        patient: Who it is of; "" where nothing says it.
        series: Which volume of the patient a slice belongs to.
        index: Position of a slice in its volume, -1 for what is not a numbered slice.
        split: As written, "" if none.
        abnormal: None where only the mask says it.
        lacks: What its folder should hold and does not, e.g. its mask; "" if nothing.
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
        """The file, or the folder of a DICOM series, that messages name."""
        return self.image.place

    @property
    def label_only(self) -> bool:
        """Whether the image is abnormal and nobody says where."""
        return bool(self.abnormal) and not self.masks

    @property
    def files(self) -> list[Path]:
        """All that is read."""
        return [*self.image.files, *self.masks, *([self.roi] if self.roi else [])]

    @property
    def group(self) -> tuple[str, str]:
        """Patient and series."""
        return self.patient, self.series


@dataclass(frozen=True)
class Layout:
    """What was found in a folder.

    Attributes:
        title: Name of the layout.
        rows: Images.
        notes: Lines for the store.
        used: Files that are used and no row's, such as the table.
        modality: What the layout says of it, "" if nothing.
        labels: Names of the values in its masks, where the layout says them.
    """

    title: str
    rows: list[Row]
    notes: list[str] = field(default_factory=list[str])
    used: tuple[Path, ...] = ()
    modality: str = ""
    labels: dict[str, int] = field(default_factory=dict[str, int])


@dataclass(frozen=True, slots=True)
class Fault:
    """A file that cannot be used, what is wrong (a sentence that names it) and the remedy."""

    file: Path
    message: str
    remedy: str


def listed(faults: Sequence[Fault]) -> DataError:
    """Returns the error that names all bad files: the first ten, and how many more there are."""
    if len(faults) == 1:
        return DataError(faults[0].message, f"{faults[0].remedy} Or go on without it: --skip-bad.")
    lines = [f"{len(faults)} files cannot be used:"]
    lines += [f"  {fault.message} {fault.remedy}" for fault in faults[:NAMED]]
    if len(faults) > NAMED:
        lines.append(f"  and {len(faults) - NAMED} more.")
    return DataError("\n".join(lines), "\nCorrect them, or go on without them: --skip-bad.")
