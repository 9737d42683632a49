"""Threshold rules: the origin of a threshold, and the labels it needs.

A pixel is predicted anomalous if its value is larger than the threshold.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from uadbench.core.errors import UnknownName
from uadbench.evaluation.cases import Cases, checked
from uadbench.evaluation.metrics.curves import KEY_BITS, POOL_BITS, PixelHistogram, below, key_values, ordered_keys

Tier = Literal["unsupervised", "weakly-supervised", "upper-bound"]
HALF = 1 << 16
POOL_SHIFT = np.uint32(KEY_BITS - POOL_BITS)
_TOLERANCE = 1e-12  # sums of patient rates have rounding errors of this order


@dataclass(frozen=True)
class HealthyFPR:
    """The smallest threshold at which healthy calibration patients have a mean pixel rate of at most ``rate``.

    Attributes:
        rate: False positives per pixel inside the body, in (0, 1).
    """

    rate: float
    labels_consumed: str = "none"
    tier: Tier = "unsupervised"

    @property
    def key(self) -> str:
        """Name in metric keys."""
        return f"healthy-fpr@{self.rate:g}"


@dataclass(frozen=True)
class Synthetic:
    """The threshold of best patient-mean Dice on synthetic lesions inserted into calibration images."""

    key: str = "synthetic"
    labels_consumed: str = "synthetic masks"
    tier: Tier = "unsupervised"


@dataclass(frozen=True)
class Val:
    """The threshold of best patient-mean Dice on validation patients."""

    key: str = "val"
    labels_consumed: str = "val masks"
    tier: Tier = "weakly-supervised"


@dataclass(frozen=True)
class Oracle:
    """The one threshold of best patient-mean Dice on the whole test set: an upper bound, never ranked."""

    key: str = "oracle"
    labels_consumed: str = "test masks"
    tier: Tier = "upper-bound"


CHOSEN = re.compile(r"masks that chose the slices of [1-9]\d* lesion patients")
"""What ``healthy-fpr`` consumes where lesion-free slices of patients with lesions calibrate it."""


def chosen_by_masks(patients: int) -> str:
    """Returns the labels that ``healthy-fpr`` consumes where so many lesion patients are in calib."""
    return f"masks that chose the slices of {patients} lesion patients"


Rule = HealthyFPR | Synthetic | Val | Oracle


def parse_rule(key: str) -> Rule:
    """Returns the rule of a key such as "healthy-fpr@0.01".

    Raises:
        UnknownName: If there is none.
    """
    named: dict[str, Rule] = {"synthetic": Synthetic(), "val": Val(), "oracle": Oracle()}
    if key in named:
        return named[key]
    name, _, rate = key.partition("@")
    try:
        rule = HealthyFPR(float(rate))
    except ValueError:
        rule = None
    if name != "healthy-fpr" or rule is None or not 0 < rule.rate < 1 or rule.key != key:
        raise UnknownName("threshold rule", key, [*named, "healthy-fpr@0.001", "healthy-fpr@0.01", "healthy-fpr@0.05"])
    return rule


def healthy_fpr_thresholds(calib: Cases, rates: Sequence[float]) -> list[float]:
    """Returns the smallest threshold of each healthy rate.

    It is the smallest observed value t such that the mean over patients of the share of body pixels above t is at
    most the rate. Exact in bounded memory: a first pass counts the upper 16 bits of the ordered keys of
    each patient, a second the lower 16 bits inside the bins where the thresholds lie.

    Args:
        calib: Healthy cases; every patient has the same weight whatever its number of pixels.
        rates: Rates in (0, 1).
    """
    upper: dict[str, NDArray[np.int64]] = {}
    for case in checked(calib, truth=False):
        high = ordered_keys(case.maps[case.scored]) >> np.uint32(16)
        counts = upper.setdefault(case.patient, np.zeros(HALF, np.int64))
        counts += np.bincount(high, minlength=HALF)
    weight = {patient: 1 / (len(upper) * counts.sum()) for patient, counts in upper.items()}
    mass = np.zeros(HALF)
    for patient in sorted(upper):
        mass += upper[patient] * weight[patient]
    above = _above(mass)
    bins = [int(np.argmax(above <= rate + _TOLERANCE)) for rate in rates]
    lower = {b: np.zeros(HALF) for b in bins}
    for case in checked(calib, truth=False):
        keys = ordered_keys(case.maps[case.scored])
        high = keys >> np.uint32(16)
        for b in lower:
            inside = (keys[high == b] & np.uint32(0xFFFF)).astype(np.int64)
            lower[b] += np.bincount(inside, minlength=HALF) * weight[case.patient]
    chosen = [
        (b << 16) | int(np.argmax(above[b] + _above(lower[b]) <= rate + _TOLERANCE))
        for b, rate in zip(bins, rates, strict=True)
    ]
    return [float(value) for value in key_values(np.array(chosen, np.uint32))]


def _above(mass: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns the mass strictly above each position."""
    return np.append(np.cumsum(mass[::-1])[::-1][1:], 0.0)


@dataclass(frozen=True)
class DiceProfile:
    """Mean Dice of lesion cases at every threshold of the 20-bit grid.

    Attributes:
        thresholds: Ascending thresholds at which some case changes, float32 (m,).
        dice: Mean Dice there, float64 (m,).
    """

    thresholds: NDArray[np.float32]
    dice: NDArray[np.float64]

    @property
    def best(self) -> float:
        """The largest threshold of best mean Dice."""
        return float(self.thresholds[len(self.dice) - 1 - int(np.argmax(self.dice[::-1]))])


def dice_profile(
    histograms: Sequence[PixelHistogram], patients: Sequence[str], *, by_patient: bool = True
) -> DiceProfile | None:
    """Returns the mean Dice over patients as a function of one common threshold; None without lesion cases.

    Each case's Dice is a step function of the threshold. Its steps are added up on the common grid, so the mean is
    exact at every grid point, and a grid step is 0.05 % of the value.

    Args:
        histograms: One per case; cases without lesion are skipped.
        patients: Patient of each case.
        by_patient: Whether patients have equal weight; otherwise cases do.
    """
    lesions = [(h.coarsen(), p) for h, p in zip(histograms, patients, strict=True) if h.n_positive]
    if not lesions:
        return None
    cases_of: dict[str, int] = defaultdict(int)
    for _, patient in lesions:
        cases_of[patient] += 1
    steps = np.zeros(1 << POOL_BITS)
    for histogram, patient in lesions:
        weight = 1 / (len(cases_of) * cases_of[patient]) if by_patient else 1 / len(lesions)
        fp, tp = histogram.above()
        dice = 2 * tp / (tp + fp + histogram.n_positive)
        steps[histogram.keys >> POOL_SHIFT] += weight * (dice - np.append(dice[1:], 0.0))
    mean = np.cumsum(steps[::-1])[::-1]
    occupied = np.unique(np.concatenate([histogram.keys for histogram, _ in lesions]))
    return DiceProfile(below(occupied), mean[occupied >> POOL_SHIFT])


def case_histogram(values: NDArray[np.float32], truth: NDArray[np.bool_]) -> PixelHistogram:
    """Returns the 20-bit histogram of a case."""
    return PixelHistogram.of(values, truth).coarsen()


def best_dice_threshold(cases: Cases) -> float | None:
    """Returns the threshold of best patient-mean Dice on cases with truth; None if none has a lesion."""
    histograms: list[PixelHistogram] = []
    patients: list[str] = []
    for case in checked(cases, truth=True):
        histograms.append(case_histogram(case.maps[case.scored], case.lesion[case.scored]))
        patients.append(case.patient)
    profile = dice_profile(histograms, patients)
    return None if profile is None else profile.best
