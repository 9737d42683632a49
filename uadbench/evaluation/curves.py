"""Pixel curves: histograms over the ordered bits of float32, exact or coarse, mergeable, with certified bounds.

The bits of a float32, with the sign handled, are ordered like the values. The leading ``bits`` of that 32-bit key
name a bin: 32 keeps every distinct value apart, 20 keeps the exponent and 11 bits of the mantissa, so a bin is
0.05 % wide at any scale, from denormals to 1e38, and no range has to be known beforehand.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import digamma

from uadbench.core.errors import DataError

KEY_BITS = 32
POOL_BITS = 20


def ordered_keys(values: NDArray[np.float32]) -> NDArray[np.uint32]:
    """Returns keys that compare like the values: equal values (0 and -0 too) have equal keys.

    Raises:
        DataError: If a value is NaN or infinite.
    """
    if not np.isfinite(values).all():
        raise DataError("Scores hold NaN or infinite values.", "Remove them before scoring.")
    bits = (np.asarray(values, np.float32) + np.float32(0)).view(np.uint32)  # + 0 turns -0 into 0
    sign = bits >> np.uint32(31)
    # Negative values sort the other way round: all their bits flip; positive values gain the top bit.
    return bits ^ (sign * np.uint32(0x7FFFFFFF) + np.uint32(0x80000000))


def key_values(keys: NDArray[np.uint32]) -> NDArray[np.float32]:
    """Returns the values of keys: the inverse of ``ordered_keys``."""
    positive = keys >> np.uint32(31)
    flip = np.where(positive == 1, np.uint32(0x80000000), np.uint32(0xFFFFFFFF))
    return (keys ^ flip).view(np.float32)


def below(bins: NDArray[np.uint32], bits: int) -> NDArray[np.float32]:
    """Returns thresholds t such that ``value > t`` selects exactly the given bins and all above."""
    keys = (bins << np.uint32(KEY_BITS - bits)) - np.uint32(1)
    keys[keys == 0x7FFFFFFF] -= np.uint32(1)  # the key of -0, which does not lie below 0
    return key_values(keys)


@dataclass(frozen=True)
class Bounds:
    """Certified bounds of a number; equal when it is known exactly."""

    low: float
    high: float

    @property
    def value(self) -> float:
        """The middle."""
        return 0.5 * (self.low + self.high)


@dataclass(frozen=True)
class PixelHistogram:
    """Counts of normal and lesion pixels in the occupied bins, in ascending order.

    Attributes:
        bits: Leading bits of the key that name a bin.
        bins: Occupied bins, ascending, uint32 (m,).
        negatives: Normal pixels a bin, int64 (m,).
        positives: Lesion pixels a bin, int64 (m,).
    """

    bits: int
    bins: NDArray[np.uint32]
    negatives: NDArray[np.int64]
    positives: NDArray[np.int64]

    @classmethod
    def exact(cls, values: NDArray[np.float32], truth: NDArray[np.bool_]) -> PixelHistogram:
        """Counts every distinct value by one sort of (key, truth) packed in 64 bits.

        Args:
            values: Scores, any shape.
            truth: True on lesions, the same shape.
        """
        packed = ordered_keys(values.ravel()).astype(np.uint64)
        packed <<= np.uint64(1)
        packed |= truth.ravel()
        packed.sort()
        keys = (packed >> np.uint64(1)).astype(np.uint32)
        return _group(KEY_BITS, keys, (packed & np.uint64(1)).astype(np.int64))

    @property
    def n_negative(self) -> int:
        """Number of normal pixels."""
        return int(self.negatives.sum())

    @property
    def n_positive(self) -> int:
        """Number of lesion pixels."""
        return int(self.positives.sum())

    def coarsen(self, bits: int) -> PixelHistogram:
        """Returns the histogram over fewer leading bits."""
        if bits > self.bits:
            raise ValueError(f"a histogram of {self.bits} bits cannot be split into {bits}")
        bins = self.bins >> np.uint32(self.bits - bits)
        return _reduce(bits, bins, self.negatives, self.positives)

    def merge(self, other: PixelHistogram) -> PixelHistogram:
        """Returns the histogram of both sets of pixels: counts add up exactly."""
        bits = min(self.bits, other.bits)
        a, b = self.coarsen(bits), other.coarsen(bits)
        bins = np.concatenate([a.bins, b.bins])
        order = np.argsort(bins, kind="stable")
        negatives = np.concatenate([a.negatives, b.negatives])[order]
        return _reduce(bits, bins[order], negatives, np.concatenate([a.positives, b.positives])[order])

    def above(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Returns, for each bin, the numbers of normal and of lesion pixels in it and above: (m,) each."""
        return np.cumsum(self.negatives[::-1])[::-1], np.cumsum(self.positives[::-1])[::-1]


def auroc(histogram: PixelHistogram) -> Bounds | None:
    """Returns bounds of the area under the ROC curve, ties counted half; None if a class is missing.

    Within a bin the order is unknown: its pairs count between 0 and 1, all others are exact. With 32 bits a bin is
    one value, its pairs are ties, and the bounds are equal.
    """
    n, p = histogram.n_negative, histogram.n_positive
    if n == 0 or p == 0:
        return None
    fp, _ = histogram.above()
    lower = (n - fp).astype(np.float64)  # normal pixels strictly below each bin
    sure = float(histogram.positives @ lower)
    inside = float(histogram.positives @ histogram.negatives.astype(np.float64))
    if histogram.bits == KEY_BITS:
        exact = (sure + 0.5 * inside) / (n * p)
        return Bounds(exact, exact)
    return Bounds(sure / (n * p), (sure + inside) / (n * p))


def average_precision(histogram: PixelHistogram) -> Bounds | None:
    """Returns bounds of the average precision, the sum of (R_k - R_(k-1)) P_k; None if there is no lesion pixel.

    With 32 bits a bin is one value and the sum is exact. Otherwise the lesion pixels of a bin, taken one by one,
    have a precision of at least (TP + i) / (TP + i + FP + n), all the bin's normal pixels ranked first, and at most
    (TP + p) / (TP + p + FP), all its normal pixels ranked last.
    """
    total = histogram.n_positive
    if total == 0:
        return None
    fp, tp = histogram.above()
    rows = histogram.positives > 0
    p = histogram.positives[rows].astype(np.float64)
    tp, fp = tp[rows].astype(np.float64), fp[rows].astype(np.float64)
    if histogram.bits == KEY_BITS:
        exact = float(np.sum(p * tp / (tp + fp)) / total)
        return Bounds(exact, exact)
    n = histogram.negatives[rows]
    high = float(np.sum(p * tp / (tp + fp - n)) / total)
    # sum over i of (a + i) / (a + i + fp) with a = TP before the bin, in closed form.
    start = tp - p + fp + 1
    low = float(np.sum(p - fp * (digamma(start + p) - digamma(start))) / total)
    return Bounds(max(min(low, high), 0.0), min(high, 1.0))


def _group(bits: int, keys: NDArray[np.uint32], labels: NDArray[np.int64]) -> PixelHistogram:
    starts = _starts(keys)
    positives = np.add.reduceat(labels, starts) if len(keys) else np.zeros(0, np.int64)
    counts = np.diff(np.append(starts, len(keys)))
    return PixelHistogram(bits, keys[starts], (counts - positives).astype(np.int64), positives)


def _reduce(
    bits: int, bins: NDArray[np.uint32], negatives: NDArray[np.int64], positives: NDArray[np.int64]
) -> PixelHistogram:
    starts = _starts(bins)
    if not len(bins):
        return PixelHistogram(bits, bins, negatives, positives)
    return PixelHistogram(bits, bins[starts], np.add.reduceat(negatives, starts), np.add.reduceat(positives, starts))


def _starts(keys: NDArray[np.uint32]) -> NDArray[np.int64]:
    """Returns where each run of equal sorted keys starts."""
    if not len(keys):
        return np.zeros(0, np.int64)
    return np.concatenate([np.zeros(1, np.int64), np.flatnonzero(keys[1:] != keys[:-1]).astype(np.int64) + 1])
