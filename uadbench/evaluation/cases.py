"""One case as the scorer sees it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from uadbench.core.errors import DataError

IGNORE = 255
HELD_PIXELS = 20_000_000


@dataclass(frozen=True)
class CaseMaps:
    """The map of a case with its ground truth.

    Attributes:
        case: Identifier of the case: a volume, or a frame with n = 1.
        patient: Patient, the unit of statistics.
        kind: Stratum, e.g. a plaque type.
        cohort: Cohort of the patient.
        maps: Raw anomaly map on the native grid, float32 (n, h, w), larger = more anomalous.
        body: True inside the body, (n, h, w).
        mask: 0 normal, 1 lesion, 255 ignore, uint8 (n, h, w); None where there is no truth (calib).
        spacing: Millimetres (slice, row, column); None if unknown.
        own_score: The method's own image score, the largest of the slices; None if it has none.
        image: Intensities in [-1, 1], (n, h, w).
        reconstruction: Healthy counterpart in [-1, 1], (n, h, w).
        label_only: Whether the case is abnormal at an unknown location: its mask has no lesion pixel and
            is 255 where unknown, and only its image score is used.
    """

    case: str
    patient: str
    kind: str
    cohort: str
    maps: NDArray[np.float32]
    body: NDArray[np.bool_]
    mask: NDArray[np.uint8] | None
    spacing: tuple[float, float, float] | None
    own_score: float | None
    image: NDArray[np.float32] | None = None
    reconstruction: NDArray[np.float32] | None = None
    label_only: bool = False

    @property
    def scored(self) -> NDArray[np.bool_]:
        """The pixels that count: inside the body and not ignored, (n, h, w)."""
        return self.body if self.mask is None or self.label_only else self.body & (self.mask != IGNORE)

    @property
    def lesion(self) -> NDArray[np.bool_]:
        """The lesion pixels that count, (n, h, w)."""
        if self.mask is None:
            raise DataError(f"Case {self.case} has no mask.", "Only cases with masks can be scored.")
        return self.body & (self.mask == 1)


class Cases(Protocol):
    """Cases that may be loaded one at a time and read several times."""

    def __len__(self) -> int:
        """Number of cases."""
        ...

    def __getitem__(self, index: int, /) -> CaseMaps:
        """Loads a case."""
        ...


def checked(cases: Cases, *, truth: bool) -> Iterator[CaseMaps]:
    """Yields every case after checking it.

    Args:
        cases: The cases.
        truth: Whether masks are needed.

    Raises:
        DataError: If shapes do not fit, values are not finite, the body is empty, or a mask is missing.
    """
    for i in range(len(cases)):
        case = cases[i]
        name = f"Case {case.case}"
        if case.maps.ndim != 3 or case.body.shape != case.maps.shape:
            raise DataError(f"{name}: map {case.maps.shape} and body {case.body.shape} do not fit (n, h, w).")
        if case.mask is not None and case.mask.shape != case.maps.shape:
            raise DataError(f"{name}: map {case.maps.shape} and mask {case.mask.shape} do not match.")
        if truth and case.mask is None:
            raise DataError(f"{name} has no mask.", "Test, val and synthetic cases need masks.")
        if not np.isfinite(case.maps).all():
            raise DataError(f"{name}: the anomaly map holds NaN or infinite values.", "Fix the method or its maps.")
        if case.own_score is not None and not np.isfinite(case.own_score):
            raise DataError(f"{name}: the image score is {case.own_score}.", "Fix the method.")
        if not case.scored.any():
            raise DataError(f"{name}: every pixel is outside the body or ignored.", "Check its body mask.")
        yield case


def held(cases: Cases) -> Cases:
    """Returns the cases loaded into memory without images; or unchanged if there are too many pixels.

    Args:
        cases: Cases that are read several times and need no image: calibration and tuning, not test.
    """
    kept: list[CaseMaps] = []
    pixels = 0
    for i in range(len(cases)):
        case = replace(cases[i], image=None, reconstruction=None)
        pixels += case.maps.size
        if pixels > HELD_PIXELS:
            return cases
        kept.append(case)
    return kept


class Slices:
    """Every slice of the given cases as a separate case (for protocols that pool slices).

    Args:
        cases: Cases of any depth.
    """

    def __init__(self, cases: Cases) -> None:
        self._cases = cases
        self._index: list[tuple[int, int]] = []
        for i, case in enumerate(checked(cases, truth=False)):
            if case.label_only and len(case.maps) > 1:
                continue  # the label is that of the volume; those of its slices are unknown
            usable = case.scored.any(axis=(1, 2))
            self._index += [(i, int(k)) for k in np.flatnonzero(usable)]
        self._held: tuple[int, CaseMaps] | None = None

    def __len__(self) -> int:
        return len(self._index)

    def __getitem__(self, index: int) -> CaseMaps:
        i, k = self._index[index]
        if self._held is None or self._held[0] != i:
            self._held = (i, self._cases[i])
        case = self._held[1]
        part = slice(k, k + 1)
        return replace(
            case,
            case=f"{case.case}/{k}" if len(case.maps) > 1 else case.case,
            maps=case.maps[part],
            body=case.body[part],
            mask=None if case.mask is None else case.mask[part],
            image=None if case.image is None else case.image[part],
            reconstruction=None if case.reconstruction is None else case.reconstruction[part],
        )
