"""Values of lesion patients and their bootstrap, for intervals and comparisons of rows."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd

from uadbench.evaluation.statistics.intervals import Interval, patient_interval, patient_means, weighted_mean
from uadbench.records.read import Entry

MIN_PATIENTS = 10  # fewer give no interval and no rank (docs/protocol.md)


def patient_values(column: str, entries: Iterable[Entry]) -> pd.Series[float] | None:
    """Returns one value per lesion patient, the mean over cases and seeds; None unless all case tables exist.

    Args:
        column: Column of ``cases.csv``, e.g. "ap".
        entries: The finished records of a row, one per seed.
    """
    found: list[pd.Series[float]] = []
    for entry in entries:
        if entry.cases is None or column not in entry.cases or "lesion" not in entry.cases:
            return None
        lesion = entry.cases[entry.cases["lesion"].astype(bool)]
        numbers = pd.to_numeric(lesion[column], errors="coerce").to_numpy(dtype=float)
        names, means, _ = patient_means(numbers.tolist(), lesion["patient"].astype(str).tolist())
        found.append(pd.Series(means, index=names, dtype=float))
    if not found or any(not series.index.equals(found[0].index) for series in found):
        return None
    return pd.Series(np.mean([series.to_numpy() for series in found], axis=0), index=found[0].index)


def patient_bootstrap(values: pd.Series[float]) -> Interval:
    """Returns the 95 % interval of the mean over patients, rounded to 6 digits; none with too few patients."""
    interval = patient_interval(
        weighted_mean(np.array(values, dtype=np.float64)),
        len(values),
        resamples=2000,
        confidence=0.95,
        seed=0,
        minimum=MIN_PATIENTS,
    )
    ends = [None if end is None else round(end, 6) for end in (interval.low, interval.high)]
    return Interval(*ends)
