"""The curves of a record: read from untrusted JSON, checked point by point."""

from __future__ import annotations

from typing import Annotated, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

MAX_POINTS = 5000
_Share = Annotated[float, Field(ge=-1e-9, le=1 + 1e-9, allow_inf_nan=False)]
_Shares = Annotated[list[_Share], Field(max_length=MAX_POINTS)]
_Finite = Annotated[float, Field(allow_inf_nan=False)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Roc(_Part):
    """Pooled ROC curve of the pixels."""

    fpr: _Shares
    tpr: _Shares


class Pr(_Part):
    """Pooled precision and recall of the pixels."""

    recall: _Shares
    precision: _Shares


class SizeBin(_Part):
    """Share of the lesions in a size bin that were found; the last bin is open (``to_mm`` None)."""

    from_mm: _Finite
    to_mm: _Finite | None = None
    lesions: Annotated[int, Field(ge=0)]
    sensitivity: _Share | None = None


class Curves(_Part):
    """The parts of ``curves.json`` shown in the report."""

    roc: Roc | None = None
    pr: Pr | None = None
    lesion_sensitivity: Annotated[list[SizeBin], Field(max_length=50)] = Field(default_factory=list[SizeBin])

    @model_validator(mode="after")
    def _paired(self) -> Self:
        if self.roc is not None and len(self.roc.fpr) != len(self.roc.tpr):
            raise ValueError("the two sides of the ROC curve differ in length")
        if self.pr is not None and len(self.pr.recall) != len(self.pr.precision):
            raise ValueError("the two sides of the PR curve differ in length")
        return self


def mean_curve(curves: list[tuple[list[float], list[float]]], grid: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """Returns the mean over seeds of curves (x, y) at the points of a grid; None if a curve is missing or empty.

    Args:
        curves: One curve per seed; points in any order.
        grid: Positions on the x axis, increasing, (n,).
    """
    if not curves or any(not x for x, _ in curves):
        return None
    found: list[NDArray[np.float64]] = []
    for x, y in curves:
        at, values = np.asarray(x, np.float64), np.asarray(y, np.float64)
        order = np.lexsort((values, at))
        found.append(np.interp(grid, at[order], values[order]))
    return np.mean(found, axis=0)
