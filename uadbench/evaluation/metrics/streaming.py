"""Pixel curves over any number of pixels in bounded memory, refined until the bounds are tight enough.

Every eighth pixel is sampled to find the cells of the key space that matter most for the average precision; these are
split into fine bins, and a full pass counts all pixels. If the certified error is too large, heavy ties are counted
value by value, and other data are read again with bins placed where they are needed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import reduce

import numpy as np
from numpy.typing import NDArray

from uadbench.core.errors import DataError, UserError
from uadbench.evaluation.metrics.curves import (
    Bounds,
    PixelHistogram,
    auroc,
    average_precision,
    best_dice,
    key_values,
    ordered_keys,
    precision_shares,
)

CELL_BITS = 16
CELLS = 1 << CELL_BITS
MAX_BINS = 1 << 21
CHUNK = 1 << 18
STRIDE = 8
FLOOR = 0.02
MAX_DISTINCT = 1 << 19
_BLOCK = 1 << 18
Pixels = tuple[NDArray[np.float32], NDArray[np.bool_]]


class Binning:
    """A partition of the 32-bit keys: 65536 cells of equal length, each split into 2^k equal bins.

    Args:
        splits: The exponent k of each cell, from 0 to 16, int64 (65536,).
    """

    def __init__(self, splits: NDArray[np.int64]) -> None:
        self.splits = splits
        self.shift = (CELL_BITS - splits).astype(np.uint32)
        ends = np.cumsum(1 << splits)
        self.size = int(ends[-1])
        self._first = np.append(0, ends[:-1])
        # bin = (key >> shift) + base, with base = first bin of the cell - (first key of the cell >> shift).
        cells = np.arange(CELLS, dtype=np.int64) << CELL_BITS
        self._base = self._first - (cells >> self.shift.astype(np.int64))

    @classmethod
    def uniform(cls, bits: int = 20) -> Binning:
        """Returns bins of equal length in keys, 2^bits in all."""
        if not CELL_BITS <= bits <= CELL_BITS + 5:
            raise UserError(f"A uniform binning has 2^16 to 2^21 bins, not 2^{bits}.")
        return cls(np.full(CELLS, bits - CELL_BITS, np.int64))

    def bins(self, keys: NDArray[np.uint32]) -> NDArray[np.int64]:
        """Returns the bin of each key."""
        cells = (keys >> np.uint32(CELL_BITS)).astype(np.int64)
        return (keys >> self.shift.take(cells)) + self._base.take(cells)

    def first_keys(self, bins: NDArray[np.int64]) -> tuple[NDArray[np.uint32], NDArray[np.bool_]]:
        """Returns the first key of each bin, and whether the bin is a single key."""
        cell = np.searchsorted(self._first, bins, side="right") - 1
        keys = (bins - self._base[cell]) << self.shift[cell].astype(np.int64)
        return keys.astype(np.uint32), self.splits[cell] == CELL_BITS


class PixelCounter:
    """Counts pixels per bin; counters of the same binning add up exactly.

    Args:
        binning: The bins.
    """

    def __init__(self, binning: Binning) -> None:
        self.binning = binning
        self._counts = np.zeros(2 * binning.size, np.uint32)
        self._pixels = 0

    def add(self, values: NDArray[np.float32], truth: NDArray[np.bool_]) -> None:
        """Counts pixels.

        Args:
            values: Scores, any shape, finite.
            truth: True on lesions, the same shape.

        Raises:
            DataError: If shapes differ or a score is NaN or infinite.
        """
        if values.shape != truth.shape:
            raise DataError(f"Scores {values.shape} and truth {truth.shape} differ in shape.")
        flat, lesion = values.ravel(), truth.ravel()
        self._pixels += flat.size
        if not len(self._counts):
            self._counts = np.zeros(2 * self.binning.size, np.uint32)
        if self._pixels > np.iinfo(np.uint32).max:
            raise DataError("A counter holds at most 2^32 - 1 pixels.", "Count in parts and merge their histograms.")
        for start in range(0, flat.size, CHUNK):
            part = slice(start, start + CHUNK)
            codes = self.binning.bins(ordered_keys(flat[part]))
            codes <<= 1
            codes |= lesion[part]
            np.add.at(self._counts, codes, np.uint32(1))  # in place: no array of all bins per chunk

    def merge(self, other: PixelCounter) -> None:
        """Adds the pixels of another counter.

        Raises:
            UserError: If the binnings differ.
        """
        if not np.array_equal(self.binning.splits, other.binning.splits):
            raise UserError("Counters of different binnings cannot be merged.")
        self._counts += other._counts
        self._pixels += other._pixels

    def clear(self) -> None:
        """Frees the counts; the counter restarts with the next pixels."""
        self._counts = np.zeros(0, np.uint32)
        self._pixels = 0

    def histogram(self, *, compact: bool = False) -> PixelHistogram:
        """Returns the occupied bins.

        Args:
            compact: Whether neighbouring bins of one cell without lesion pixels become one: no metric, bound or
                refinement changes, and the histogram of many normal pixels takes little memory.
        """
        parts: list[PixelHistogram] = []
        pairs = self._counts.reshape(-1, 2)
        for start in range(0, len(pairs), _BLOCK):
            block = pairs[start : start + _BLOCK]
            bins = np.flatnonzero(block.any(axis=1))
            if not len(bins):
                continue
            keys, exact = self.binning.first_keys(bins + start)
            starts = np.arange(len(bins))
            if compact:
                lesion = block[bins, 1] > 0
                cell = keys >> np.uint32(CELL_BITS)
                new = lesion[1:] | lesion[:-1] | (cell[1:] != cell[:-1])
                starts = np.append(0, np.flatnonzero(new) + 1)
            counts = np.add.reduceat(block[bins], starts, axis=0, dtype=np.int64)
            parts.append(PixelHistogram(keys[starts], exact[starts], counts[:, 0].copy(), counts[:, 1].copy()))
        if not parts:
            return _merged([])
        columns = zip(*((h.keys, h.exact, h.negatives, h.positives) for h in parts), strict=True)
        return PixelHistogram(*(np.concatenate(column) for column in columns))


@dataclass(frozen=True)
class PixelCurves:
    """Pooled pixel metrics with certified bounds; None if a class is missing.

    Attributes:
        auroc: Area under the ROC curve.
        ap: Average precision.
        dice: Best Dice over all thresholds.
        threshold: Threshold of the lower bound of ``dice``.
        passes: Number of passes over the pixels.
    """

    auroc: Bounds | None
    ap: Bounds | None
    dice: Bounds | None
    threshold: float | None
    passes: int


def pixel_curves(
    read: Callable[[], Iterable[Pixels]], *, tolerance: float = 1e-6, passes: int = 3, exact_up_to: int = 1 << 19
) -> PixelCurves:
    """Computes the pooled metrics of pixels that are read in parts, once per pass.

    Few pixels are sorted, which is exact. Otherwise full passes continue until the certified error of the average
    precision is at most the tolerance or the maximum number of passes is reached; the bounds show the accuracy.

    Args:
        read: Starts a pass over the pixels: parts (scores, truth).
        tolerance: Required certified error of the average precision.
        passes: Maximum number of full passes.
        exact_up_to: Number of pixels up to which they are held in memory and sorted.
    """
    held: list[Pixels] | None = []
    counter = PixelCounter(Binning.uniform(CELL_BITS + 2))
    size = 0
    for values, truth in read():
        counter.add(values.ravel()[::STRIDE], truth.ravel()[::STRIDE])
        size += values.size
        if held is not None and size <= exact_up_to:
            held.append((values.ravel(), truth.ravel()))
        else:
            held = None
    if held is not None:
        parts = [PixelHistogram.of(*part) for part in held]
        return _curves(_merged(parts), 1)
    histogram = counter.histogram()
    done = 0
    while done < max(1, passes):
        done += 1
        binning = _refined(histogram)
        del counter, histogram  # the old counts must not be in memory together with the new ones
        counter = PixelCounter(binning)
        for values, truth in read():
            counter.add(values, truth)
        histogram = counter.histogram(compact=True)
        counter.clear()
        bounds = average_precision(histogram)
        if bounds is None or bounds.error <= tolerance:
            break
        if done < passes and len(histogram.keys) < MAX_DISTINCT // 16:  # few bins are occupied: ties are likely
            exact = _distinct(read())
            if exact is not None:
                return _curves(exact, done + 1)
    return _curves(histogram, done)


def _distinct(parts: Iterable[Pixels]) -> PixelHistogram | None:
    """Counts every distinct value, or gives up beyond ``MAX_DISTINCT`` of them."""
    total: PixelHistogram | None = None
    for values, truth in parts:
        flat, lesion = values.ravel(), truth.ravel()
        for start in range(0, flat.size, CHUNK):
            part = PixelHistogram.of(flat[start : start + CHUNK], lesion[start : start + CHUNK])
            total = part if total is None else total.merge(part)
            if len(total.keys) > MAX_DISTINCT:
                return None
    return total


def _merged(parts: list[PixelHistogram]) -> PixelHistogram:
    none = np.zeros(0, np.float32), np.zeros(0, np.bool_)
    return reduce(PixelHistogram.merge, parts, PixelHistogram.of(*none))


def _curves(histogram: PixelHistogram, passes: int) -> PixelCurves:
    best = best_dice(histogram)
    dice, threshold = (None, None) if best is None else best
    return PixelCurves(auroc(histogram), average_precision(histogram), dice, threshold, passes)


def _refined(histogram: PixelHistogram) -> Binning:
    """Places bins where the bounds of the average precision are wide.

    Splitting a cell into m bins divides its gap g by about m; the sum of g / m is least, for a given number of bins,
    when m is proportional to the square root of the undivided gap, which is measured on whole cells.
    """
    whole = histogram.coarsen(CELL_BITS)
    rows, low, high = precision_shares(whole)
    cells = (whole.keys >> np.uint32(CELL_BITS)).astype(np.int64)
    root = np.sqrt(np.bincount(cells[rows], np.maximum(high - low, 0.0), CELLS))
    # Unsampled cells also need bins: every cell between the extremes gets a minimum. Half of it
    # goes by the cells' width in values: half of all cells lie between -1 and 1, and rare high values lie beyond.
    reach = np.arange(int(cells.min()), int(cells.max()) + 1)
    width = _widths(reach)
    root[reach] = np.maximum(root[reach], FLOOR * root.sum() * (0.5 / len(reach) + 0.5 * width / width.sum()))
    spare = MAX_BINS - CELLS
    share = root / root.sum() * spare if root.sum() > 0 else np.zeros(CELLS)
    splits = np.clip(np.floor(np.log2(np.maximum(share, 1.0))), 0, CELL_BITS).astype(np.int64)
    # Rounding down leaves bins unused: split the widest gaps once more while bins remain.
    order = np.argsort(-root / (1 << splits), kind="stable")
    order = order[(root[order] > 0) & (splits[order] < CELL_BITS)]
    room = MAX_BINS - int((1 << splits).sum())
    splits[order[np.cumsum(1 << splits[order]) <= room]] += 1
    return Binning(splits)


def _widths(cells: NDArray[np.int64]) -> NDArray[np.float64]:
    """Returns how far the values of each cell reach, relative to the widest."""
    first = cells.astype(np.uint32) << np.uint32(CELL_BITS)
    last = first | np.uint32((1 << CELL_BITS) - 1)
    with np.errstate(invalid="ignore"):  # the outermost cells contain NaN keys
        width = key_values(last).astype(np.float64) - key_values(first).astype(np.float64)
    width = np.where(np.isfinite(width), width, 0.0)
    return (width + np.finfo(np.float64).tiny) / max(float(width.max()), np.finfo(np.float64).tiny)
