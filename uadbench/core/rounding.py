"""Rounding and decisions that do not depend on the last bits of a number, and a watch that verifies it.

Processors differ in the last bits of ``exp``, ``sin``, ``pow`` and of matrix products (docs/datasets.md). A simulation
in float64 propagates such differences, about 1e-13 of a value, until a discrete decision: to which step an intensity
is rounded, on which side of a boundary a point is. Because every decision is made here, a watch finds the smallest
distance of any value to its boundary; if it far exceeds the differences, all machines give bit-equal results.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
NUDGE = 3.3e-6
"""Offset of boundaries from round numbers, on which values can fall exactly, such as the mean of two clipped levels."""


@dataclass
class Watch:
    """Decisions recorded while the watch was on.

    Attributes:
        keep: Whether values are stored, which takes as much memory as the simulation.
        margins: The smallest distance of any value to its boundary, by name of the decision, in the value's unit.
        counts: Number of values for each decision.
        values: The values themselves, if stored.

    Several threads may note decisions; then the order of stored values is not fixed.
    """

    keep: bool = False
    margins: dict[str, float] = field(default_factory=dict[str, float])
    counts: dict[str, int] = field(default_factory=dict[str, int])
    values: dict[str, list[Array]] = field(default_factory=dict[str, list[Array]])
    _lock: Lock = field(default_factory=Lock, repr=False, compare=False)

    def note(self, name: str, values: Array, away: Array) -> None:
        """Records the values of a decision and their signed distances to the boundary."""
        nearest = float(np.abs(away).min(initial=np.inf))
        with self._lock:
            self.counts[name] = self.counts.get(name, 0) + away.size
            if away.size:
                self.margins[name] = min(self.margins.get(name, np.inf), nearest)
            if self.keep:
                self.values.setdefault(name, []).append(values.ravel().copy())


_WATCH: ContextVar[Watch | None] = ContextVar("watch", default=None)


@contextmanager
def watched(keep: bool = False) -> Generator[Watch]:
    """Records all decisions inside the block.

    Args:
        keep: Whether to keep the values, to compare them between machines.
    """
    watch = Watch(keep)
    token = _WATCH.set(watch)
    try:
        yield watch
    finally:
        _WATCH.reset(token)


def above(name: str, values: Any, limit: Any) -> NDArray[np.bool_]:
    """Returns where values exceed a limit, both float64.

    Args:
        name: Name of the decision, for the watch.
        values: Any shape.
        limit: A number, or numbers that broadcast.

    Raises:
        TypeError: If the values have less precision than the margin needs.
    """
    away = _double(name, values) - limit - NUDGE
    if watch := _WATCH.get():
        watch.note(name, np.asarray(values), away)
    return away > 0


def rounded(name: str, values: Any) -> Array:
    """Returns the nearest whole numbers; halves, and values less than ``NUDGE`` below them, are rounded up.

    Args:
        name: Name of the decision, for the watch.
        values: float64 in units of the step, any shape.

    Raises:
        TypeError: If the values have less precision than the margin needs.
    """
    shifted = _double(name, values) + (0.5 + NUDGE)
    whole = np.floor(shifted)
    if watch := _WATCH.get():
        watch.note(name, np.asarray(values), np.minimum(shifted - whole, whole + 1 - shifted))
    return whole


def _double(name: str, values: Any) -> Array:
    found = np.asarray(values)
    if found.dtype != np.float64:
        raise TypeError(
            f"{name}: {found.dtype} is not precise enough to decide equally on all machines; compute in float64."
        )
    return found
