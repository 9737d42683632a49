"""What the path of a file says of an image, by a regular expression: its patient, and where it lies in a volume."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Named:
    """What a path says.

    Attributes:
        patient: The group named patient, otherwise the first group, otherwise the whole match.
        series: The group named series; "" without one.
        index: The number in the group named slice; -1 without one.
    """

    patient: str
    series: str = ""
    index: int = -1


def named(pattern: re.Pattern[str], path: str) -> Named | None:
    """Returns what a path below the source says; None if the pattern finds no patient in it."""
    match = pattern.search(path)
    if match is None:
        return None
    groups = match.groupdict()
    patient = groups.get("patient") or (match.group(1) if pattern.groups else match.group(0))
    index = str(groups.get("slice") or "")
    return Named(patient, groups.get("series") or "", int(index) if index.isdigit() else -1) if patient else None
