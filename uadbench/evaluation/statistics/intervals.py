"""Intervals over patients: the BCa bootstrap with patients as clusters."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Floats = NDArray[np.float64]
Statistic = Callable[[Floats], Floats]
_CHUNK = 256


@dataclass(frozen=True)
class Interval:
    """A confidence interval; None if there are too few patients."""

    low: float | None
    high: float | None


def patient_interval(
    statistic: Statistic, n: int, *, resamples: int, confidence: float, seed: int, minimum: int
) -> Interval:
    """Returns the bias-corrected and accelerated interval (Efron 1987, eq. 6.8) over resampled patients.

    Args:
        statistic: Maps weights (b, n), how often each patient was drawn, to values (b,).
        n: Number of patients.
        resamples: Number of resamples.
        confidence: Level, e.g. 0.95.
        seed: Seed of the resampling.
        minimum: With fewer patients there is no interval.
    """
    if n < minimum:
        return Interval(None, None)
    everyone = float(statistic(np.ones((1, n)))[0])
    if not np.isfinite(everyone):
        return Interval(None, None)

    def of_indices(index: NDArray[np.int64], axis: int = -1) -> Floats:
        rows = np.moveaxis(index, axis, -1).reshape(-1, index.shape[axis])
        values = np.concatenate(
            [statistic(_counts(rows[start : start + _CHUNK], n)) for start in range(0, len(rows), _CHUNK)]
        )
        # A resample without one of the classes has no value; the point estimate replaces it without affecting the
        # limits.
        values = np.where(np.isfinite(values), values, everyone)
        shape = index.shape[:axis] + index.shape[axis + 1 :] if axis >= 0 else index.shape[:axis]
        return values.reshape(shape) if shape else values[0]

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a degenerate distribution is handled below
        for method in ("BCa", "percentile"):
            result = stats.bootstrap(
                (np.arange(n),),
                of_indices,
                n_resamples=resamples,
                batch=_CHUNK,
                confidence_level=confidence,
                method=method,
                vectorized=True,
                axis=-1,
                rng=np.random.default_rng(seed),
            ).confidence_interval
            # BCa is undefined if all resamples agree or are on one side; percentiles remain defined.
            if np.isfinite(result.low) and np.isfinite(result.high):
                return Interval(float(result.low), float(result.high))
    return Interval(None, None)


def _counts(rows: NDArray[np.int64], n: int) -> Floats:
    """Returns how often each of n patients occurs in each row: (b, n)."""
    flat = (rows + np.arange(len(rows))[:, None] * n).ravel()
    return np.bincount(flat, minlength=len(rows) * n).reshape(len(rows), n).astype(np.float64)


def on_grid(values: Floats) -> Floats:
    """Rounds values to steps of 2**-40 of the largest magnitude, so that sums of up to 8192 of them are exact.

    The order in which a BLAS adds then does not matter: resamples with the same values have the same mean on every
    processor, and BCa counts the same resamples below the estimate.
    """
    largest = float(np.abs(values).max(initial=0.0))
    if largest == 0 or not np.isfinite(largest):
        return values
    step = np.ldexp(1.0, int(np.frexp(largest)[1]) - 40)
    return np.round(values / step) * step


def weighted_mean(values: Floats, weights: Floats | None = None) -> Statistic:
    """Returns the statistic "mean over patients".

    Args:
        values: One value per patient, (n,).
        weights: Weight of each patient, e.g. its number of slices; equal if None.
    """
    size = np.ones_like(values) if weights is None else weights
    parts, sizes = on_grid(values * size), on_grid(size)

    def mean(counts: Floats) -> Floats:
        return (counts @ parts) / (counts @ sizes)

    return mean


def image_auroc(scores: Floats, positive: NDArray[np.bool_], patient: NDArray[np.int64], n: int) -> Statistic:
    """Returns the statistic "AUROC over cases" (ties count half) as a quadratic form in the patients' weights.

    Args:
        scores: Image score of each case, (m,).
        positive: Whether the case holds a lesion, (m,).
        patient: Row of the patient of each case, (m,).
        n: Number of patients.
    """
    pos, neg = _by_patient(positive, patient, n), _by_patient(~positive, patient, n)
    wins = np.zeros((n, n))
    order = np.sort(scores[~positive])
    owner = patient[~positive][np.argsort(scores[~positive], kind="stable")]
    below = np.zeros((len(order) + 1, n))
    np.cumsum(np.eye(n)[owner], axis=0, out=below[1:])
    for score, row in zip(scores[positive], patient[positive], strict=True):
        left, right = np.searchsorted(order, score, "left"), np.searchsorted(order, score, "right")
        wins[row] += 0.5 * (below[left] + below[right])

    def auroc(counts: Floats) -> Floats:
        pairs = (counts @ pos) * (counts @ neg)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.einsum("bi,ij,bj->b", counts, wins, counts, optimize=True) / pairs

    return auroc


def image_ap(scores: Floats, positive: NDArray[np.bool_], patient: NDArray[np.int64]) -> Statistic:
    """Returns the statistic "average precision over cases"; arguments as for ``image_auroc``."""
    order = np.argsort(-scores, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(scores[order])), len(scores) - 1)
    owner, hit = patient[order], positive[order].astype(np.float64)

    def precision(counts: Floats) -> Floats:
        weight = counts[:, owner]
        tp, everything = np.cumsum(weight * hit, axis=1)[:, ends], np.cumsum(weight, axis=1)[:, ends]
        gained = np.diff(tp, axis=1, prepend=0.0)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.sum(gained * np.where(everything > 0, tp / everything, 0.0), axis=1) / tp[:, -1]

    return precision


def pooled_auroc(negatives: Floats, positives: Floats) -> Statistic:
    """Returns the statistic "AUROC over all pixels".

    Args:
        negatives: Normal pixels of each patient in ascending bins, (n, k).
        positives: Lesion pixels, (n, k).
    """

    def auroc(counts: Floats) -> Floats:
        neg, pos = counts @ negatives, counts @ positives
        lower = np.cumsum(neg, axis=1) - 0.5 * neg
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.sum(pos * lower, axis=1) / (pos.sum(axis=1) * neg.sum(axis=1))

    return auroc


def pooled_ap(negatives: Floats, positives: Floats) -> Statistic:
    """Returns the statistic "average precision over all pixels"; arguments as for ``pooled_auroc``."""

    def precision(counts: Floats) -> Floats:
        neg, pos = (counts @ negatives)[:, ::-1], (counts @ positives)[:, ::-1]
        tp, fp = np.cumsum(pos, axis=1) - 0.5 * pos, np.cumsum(neg, axis=1) - 0.5 * neg
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.sum(pos * np.where(tp + fp > 0, tp / (tp + fp), 0.0), axis=1) / pos.sum(axis=1)

    return precision


def _by_patient(chosen: NDArray[np.bool_], patient: NDArray[np.int64], n: int) -> Floats:
    return np.bincount(patient[chosen], minlength=n).astype(np.float64)


def patient_means(values: Sequence[float], patients: Sequence[str]) -> tuple[list[str], Floats, Floats]:
    """Returns sorted patients, the mean of each, and how many values each has; NaN values are skipped."""
    groups: dict[str, list[float]] = {}
    for value, patient in zip(values, patients, strict=True):
        if np.isfinite(value):
            groups.setdefault(patient, []).append(value)
    names = sorted(groups)
    means = np.array([float(np.mean(groups[name])) for name in names])
    return names, means, np.array([float(len(groups[name])) for name in names])
