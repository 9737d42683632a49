"""The pixels of all test cases, stored as one coarse histogram per case."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uadbench.evaluation.metrics.curves import POOL_BITS, PixelHistogram, auroc, average_precision, below
from uadbench.evaluation.protocol.thresholds import POOL_SHIFT, DiceProfile, dice_profile

BOOTSTRAP_BINS = 1024
CURVE_POINTS = 200
_LARGEST = float(np.finfo(np.float32).max)


class Pool:
    """Collects one histogram per case."""

    def __init__(self) -> None:
        self._histograms: list[PixelHistogram] = []
        self._patients: list[str] = []
        self._total: PixelHistogram | None = None

    def add(self, patient: str, histogram: PixelHistogram) -> None:
        """Adds a case."""
        self._histograms.append(histogram.coarsen())
        self._patients.append(patient)
        self._total = None

    @property
    def patients(self) -> list[str]:
        """The patients, sorted."""
        return sorted(set(self._patients))

    @property
    def smaller_class(self) -> int:
        """The smaller of the numbers of patients with lesion pixels and with normal pixels."""
        pairs = list(zip(self._histograms, self._patients, strict=True))
        return min(len({p for h, p in pairs if h.n_positive}), len({p for h, p in pairs if h.n_negative}))

    @property
    def total(self) -> PixelHistogram:
        """All pixels."""
        if self._total is None:
            counts = np.zeros((2, 1 << POOL_BITS), np.int64)
            for histogram in self._histograms:
                bins = histogram.keys >> POOL_SHIFT
                counts[0, bins] += histogram.negatives
                counts[1, bins] += histogram.positives
            bins = np.flatnonzero(counts.any(axis=0)).astype(np.uint32)
            inexact = np.zeros(len(bins), np.bool_)
            self._total = PixelHistogram(bins << POOL_SHIFT, inexact, counts[0, bins], counts[1, bins])
        return self._total

    @property
    def auroc(self) -> float | None:
        """AUROC over all pixels; the certified bounds are within a bin's width."""
        bounds = auroc(self.total)
        return None if bounds is None or not self.total.n_positive else bounds.value

    @property
    def ap(self) -> float | None:
        """Average precision over all pixels."""
        bounds = average_precision(self.total)
        return None if bounds is None else bounds.value

    def dice_profile(self, *, by_patient: bool) -> DiceProfile | None:
        """Returns mean Dice against one common threshold."""
        return dice_profile(self._histograms, self._patients, by_patient=by_patient)

    def dense(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Returns normal and lesion pixels of each patient in at most ``BOOTSTRAP_BINS`` bins of equal share.

        The bins split the pixels of both classes evenly, so that a resample's curve is close to that of all bins.
        """
        total, patients = self.total, self.patients
        share = total.negatives / max(1, total.n_negative) + total.positives / max(1, total.n_positive)
        place = np.cumsum(share) / share.sum() * BOOTSTRAP_BINS
        group = np.minimum(place.astype(np.int64), BOOTSTRAP_BINS - 1)
        row = {name: i for i, name in enumerate(patients)}
        counts = np.zeros((2, len(patients), BOOTSTRAP_BINS))
        for histogram, patient in zip(self._histograms, self._patients, strict=True):
            where = group[np.searchsorted(total.keys, histogram.keys)]
            counts[0, row[patient]] += np.bincount(where, histogram.negatives, BOOTSTRAP_BINS)
            counts[1, row[patient]] += np.bincount(where, histogram.positives, BOOTSTRAP_BINS)
        return counts[0], counts[1]

    def curves(self, profile: DiceProfile | None) -> dict[str, Any]:
        """Returns points of the pooled ROC and PR curves and of mean Dice, with the bounds of both areas."""
        total = self.total
        fp, tp = total.above()
        result: dict[str, Any] = {}
        if total.n_positive and total.n_negative:
            recall, fpr = tp / total.n_positive, fp / total.n_negative
            at = _spread(recall + fpr)
            result["roc"] = {"fpr": _numbers(fpr[at]), "tpr": _numbers(recall[at])}
            result["pr"] = {"recall": _numbers(recall[at]), "precision": _numbers((tp / (tp + fp))[at])}
            result["threshold"] = _numbers(below(total.keys[at]))
            area, ap = auroc(total), average_precision(total)
            if area is not None and ap is not None:
                result["bounds"] = {"pixel_auroc_pooled": [area.low, area.high], "pixel_ap_pooled": [ap.low, ap.high]}
        if profile is not None:
            at = np.unique(np.append(_spread(-np.arange(len(profile.dice))), np.argmax(profile.dice)))
            result["dice"] = {"threshold": _numbers(profile.thresholds[at]), "dice": _numbers(profile.dice[at])}
        return result


def _spread(falling: NDArray[Any]) -> NDArray[np.int64]:
    """Returns at most ``CURVE_POINTS`` positions, evenly spaced in the values of a decreasing sequence."""
    wanted = np.linspace(falling[0], falling[-1], CURVE_POINTS)
    at = np.searchsorted(-falling, -wanted)
    return np.unique(np.minimum(at, len(falling) - 1)).astype(np.int64)


def _numbers(values: Sequence[float] | NDArray[Any]) -> list[float]:
    return [float(value) for value in np.clip(np.asarray(values, np.float64), -_LARGEST, _LARGEST)]
