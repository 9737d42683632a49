"""Calibration of image scores against healthy patients: is a stated false alarm rate the actual one?"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from uadbench.evaluation.intervals import Statistic

Floats = NDArray[np.float64]
LEVELS = np.arange(1, 100) / 100


def conformal_p_values(calib: Floats, scores: Floats) -> Floats:
    """Returns, for each score, the share of healthy scores at least as large: (1 + #{c >= s}) / (1 + n).

    Under exchangeability of healthy cases, a threshold on this value has at most that false alarm rate.

    Args:
        calib: Image scores of healthy calibration cases, (n,).
        scores: Image scores to judge, (m,).
    """
    ordered = np.sort(calib)
    at_least = len(ordered) - np.searchsorted(ordered, scores, side="left")
    return (1 + at_least) / (1 + len(ordered))


def false_alarm_error(p_values: Floats, patient: NDArray[np.int64], n: int) -> Statistic:
    """Returns the statistic "mean gap between stated and actual false alarm rate", 0 = calibrated, 0.5 = worst.

    Args:
        p_values: Conformal p values of healthy test cases, (m,).
        patient: Row of the patient of each case, (m,).
        n: Number of patients, each with at least one case; they weigh the same.
    """
    alarms = (p_values[:, None] <= LEVELS).astype(np.float64)
    rates = np.zeros((n, len(LEVELS)))
    np.add.at(rates, patient, alarms)
    rates /= np.bincount(patient, minlength=n)[:, None]

    def error(counts: Floats) -> Floats:
        actual = counts @ rates / counts.sum(axis=1, keepdims=True)
        return np.abs(actual - LEVELS).mean(axis=1)

    return error


def expected_calibration_error(probability: Floats, truth: NDArray[np.bool_], bins: int = 10) -> float:
    """Returns the mean gap between probability and frequency over bins of equal width (Naeini et al. 2015).

    Args:
        probability: Probabilities of a lesion in [0, 1], (m,).
        truth: Whether there is one, (m,).
        bins: Number of bins.
    """
    where = np.minimum((probability * bins).astype(np.int64), bins - 1)
    stated = np.bincount(where, probability, bins)
    actual = np.bincount(where, truth, bins)
    return float(np.abs(stated - actual).sum() / len(probability))
