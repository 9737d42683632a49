"""Pixel curves: histograms over the ordered bits of float32, exact or coarse, mergeable, with certified bounds.

The bits of a float32, with the sign handled, are ordered like the values. Bins are ranges of these 32-bit keys: a
range of one key keeps a value apart from all others; keeping the leading 20 bits makes bins 0.05 % wide at any
scale, from denormals to 1e38. The range need not be known in advance.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import digamma

from uadbench.core.errors import DataError

KEY_BITS = 32
POOL_BITS = 20
_BLOCK = 1 << 16


def ordered_keys(values: NDArray[np.float32]) -> NDArray[np.uint32]:
    """Returns keys ordered like the values: equal values (including 0 and -0) have equal keys.

    Raises:
        DataError: If a value is NaN or infinite.
    """
    floats = np.asarray(values, np.float32)
    # The extremes of an array with NaN are NaN, so two fast passes detect every bad value.
    if floats.size and not (np.isfinite(floats.min()) and np.isfinite(floats.max())):
        kind = "NaN" if np.isnan(floats).any() else "infinite"
        raise DataError(f"Scores hold {kind} values.", "Repair the map before scoring.")
    bits = (floats + np.float32(0)).view(np.uint32)  # + 0 turns -0 into 0
    # Negative values sort in reverse: all their bits flip; positive values gain the top bit.
    return bits ^ ((bits.view(np.int32) >> 31).view(np.uint32) | np.uint32(0x80000000))


def key_values(keys: NDArray[np.uint32]) -> NDArray[np.float32]:
    """Returns the values of keys: the inverse of ``ordered_keys``."""
    flip = np.where(keys >> np.uint32(31) == 1, np.uint32(0x80000000), np.uint32(0xFFFFFFFF))
    return (keys ^ flip).view(np.float32)


def below(keys: NDArray[np.uint32]) -> NDArray[np.float32]:
    """Returns thresholds t such that ``value > t`` selects exactly the values whose key is at least the given one."""
    before = keys - np.uint32(1)
    before[before == 0x7FFFFFFF] -= np.uint32(1)  # the key of -0, which does not lie below 0
    return key_values(before)


@dataclass(frozen=True)
class Bounds:
    """Certified bounds of a number; equal when it is known exactly."""

    low: float
    high: float

    @property
    def value(self) -> float:
        """The middle."""
        return 0.5 * (self.low + self.high)

    @property
    def error(self) -> float:
        """The largest possible error of the middle."""
        return 0.5 * (self.high - self.low)


@dataclass(frozen=True)
class PixelHistogram:
    """Counts of normal and lesion pixels in the occupied bins, in ascending order.

    Attributes:
        keys: First key of each bin, ascending, uint32 (m,).
        exact: Whether a bin has a single key, (m,).
        negatives: Normal pixels per bin, int64 (m,).
        positives: Lesion pixels per bin, int64 (m,).
    """

    keys: NDArray[np.uint32]
    exact: NDArray[np.bool_]
    negatives: NDArray[np.int64]
    positives: NDArray[np.int64]

    @classmethod
    def of(cls, values: NDArray[np.float32], truth: NDArray[np.bool_]) -> PixelHistogram:
        """Separates all distinct values by one sort of (key, truth) packed in 64 bits.

        Args:
            values: Scores, any shape.
            truth: True on lesions, the same shape.
        """
        packed = ordered_keys(values.ravel()).astype(np.uint64)
        packed <<= np.uint64(1)
        packed |= truth.ravel()
        packed.sort()
        keys = (packed >> np.uint64(1)).astype(np.uint32)
        positives = (packed & np.uint64(1)).astype(np.int64)
        return _grouped(keys, np.ones(len(keys), np.bool_), 1 - positives, positives)

    @classmethod
    def above_floor(
        cls, values: NDArray[np.float32], truth: NDArray[np.bool_], threshold: float, floor: float
    ) -> PixelHistogram:
        """Returns the histogram after values at or below a threshold are set to a floor; only the others are sorted.

        Args:
            values: Scores, (n,).
            truth: True on lesions, (n,).
            threshold: Values above it are kept.
            floor: Value of the others, at most the threshold.
        """
        kept = values > threshold
        low, lesions = len(kept) - int(np.count_nonzero(kept)), int(np.count_nonzero(truth[~kept]))
        top = cls.of(values[kept], truth[kept])
        if not low:
            return top
        return cls(
            keys=np.append(ordered_keys(np.array([floor], np.float32)), top.keys),
            exact=np.append(np.ones(1, np.bool_), top.exact),
            negatives=np.append(np.int64(low - lesions), top.negatives),
            positives=np.append(np.int64(lesions), top.positives),
        )

    @property
    def n_negative(self) -> int:
        """Number of normal pixels."""
        return int(self.negatives.sum())

    @property
    def n_positive(self) -> int:
        """Number of lesion pixels."""
        return int(self.positives.sum())

    def coarsen(self, bits: int = POOL_BITS) -> PixelHistogram:
        """Returns the histogram over the leading bits of the keys."""
        shift = np.uint32(KEY_BITS - bits)
        return _grouped(self.keys >> shift << shift, np.zeros(len(self.keys), np.bool_), self.negatives, self.positives)

    def merge(self, other: PixelHistogram) -> PixelHistogram:
        """Returns the histogram of both sets of pixels, which must have equal bins, so counts add up exactly."""
        keys = np.concatenate([self.keys, other.keys])
        order = np.argsort(keys, kind="stable")
        return _grouped(
            keys[order],
            np.concatenate([self.exact, other.exact])[order],
            np.concatenate([self.negatives, other.negatives])[order],
            np.concatenate([self.positives, other.positives])[order],
        )

    def above(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Returns, for each bin, the numbers of normal and of lesion pixels in it and above: (m,) each."""
        return np.cumsum(self.negatives[::-1])[::-1], np.cumsum(self.positives[::-1])[::-1]


def auroc(histogram: PixelHistogram) -> Bounds | None:
    """Returns bounds of the area under the ROC curve, ties counted half; None if a class is missing.

    Pairs in different bins are exact, pairs in an exact bin are ties, all others count between 0 and 1.
    """
    n, p = histogram.n_negative, histogram.n_positive
    if n == 0 or p == 0:
        return None
    fp, _ = histogram.above()
    lower = (n - fp).astype(np.float64)  # normal pixels strictly below each bin
    inside = histogram.positives * histogram.negatives.astype(np.float64)
    sure = float(histogram.positives @ lower) + 0.5 * float(inside[histogram.exact].sum())
    unsure = float(inside[~histogram.exact].sum())
    return Bounds(sure / (n * p), (sure + unsure) / (n * p))


def average_precision(histogram: PixelHistogram) -> Bounds | None:
    """Returns bounds of the average precision, the sum of (R_k - R_(k-1)) P_k; None if there is no lesion pixel."""
    if histogram.n_positive == 0:
        return None
    _, low, high = precision_shares(histogram)
    return Bounds(max(float(low.sum()), 0.0), min(float(high.sum()), 1.0))


def precision_shares(
    histogram: PixelHistogram,
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Returns the bins with lesion pixels, and the least and the most that each adds to the average precision.

    With a = TP and f = FP above the bin, p lesion and n normal pixels in it, and P lesion pixels in all: an exact bin
    is one tie and adds p (a + p) / (a + p + f + n) / P. In any other bin lesion pixel i adds at least
    (a + i) / (a + i + f + n), all normal pixels ranked first, and at most (a + p) / (a + p + f), all ranked last.
    """
    rows = np.flatnonzero(histogram.positives)
    fp, tp = (counts[rows] for counts in histogram.above())
    p, n = histogram.positives[rows], histogram.negatives[rows]
    exact = histogram.exact[rows]
    low, high = np.empty(len(rows)), np.empty(len(rows))
    for start in range(0, len(rows), _BLOCK):  # in blocks: the temporaries stay small
        at = slice(start, start + _BLOCK)
        low[at], high[at] = _shares(p[at].astype(np.float64), n[at], tp[at], fp[at], exact[at])
    total = histogram.n_positive
    return rows, low / total, high / total


def _shares(
    p: NDArray[np.float64],
    n: NDArray[np.int64],
    tp: NDArray[np.int64],
    fp: NDArray[np.int64],
    exact: NDArray[np.bool_],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    tie = p * tp / (tp + fp)
    known = exact | (n == 0) & (p == 1)
    # The sum over i of (a + i) / (a + i + fp) in closed form.
    start = tp - p + fp + 1
    first = np.minimum(p - fp * (digamma(start + p) - digamma(start)), tie)
    return np.where(known, tie, first), np.where(known, tie, p * tp / (tp + fp - n))


def best_dice(histogram: PixelHistogram) -> tuple[Bounds, float] | None:
    """Returns bounds of the best Dice over all thresholds, and the threshold of the lower bound."""
    total = histogram.n_positive
    if total == 0:
        return None
    fp, tp = histogram.above()
    dice = 2 * tp / (tp + fp + total)
    most = np.where(histogram.exact, dice, 2 * tp / (tp + fp - histogram.negatives + total))
    at = len(dice) - 1 - int(np.argmax(dice[::-1]))
    return Bounds(float(dice[at]), float(max(most.max(), dice[at]))), float(below(histogram.keys[at : at + 1])[0])


def _grouped(
    keys: NDArray[np.uint32], exact: NDArray[np.bool_], negatives: NDArray[np.int64], positives: NDArray[np.int64]
) -> PixelHistogram:
    """Adds up runs of equal, sorted keys."""
    if not len(keys):
        return PixelHistogram(keys, exact, negatives, positives)
    starts = np.append(0, np.flatnonzero(keys[1:] != keys[:-1]) + 1)
    last = np.append(starts[1:], len(keys)) - 1
    # Differences of running sums, which are exact for integers and faster than a sum for each run.
    sums = [np.diff(np.cumsum(counts)[last], prepend=0) for counts in (negatives, positives)]
    return PixelHistogram(keys[starts], np.diff(np.cumsum(~exact)[last], prepend=0) == 0, *sums)
