"""Calibration of image scores: compares stated false alarm rates and lesion probabilities with actual ones."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit

from uadbench.evaluation.statistics.intervals import Statistic, on_grid

Floats = NDArray[np.float64]
LEVELS = np.arange(1, 100) / 100


def conformal_p_values(calib: Floats, scores: Floats) -> Floats:
    """Returns, for each score, the share of healthy scores at least as large: (1 + #{c >= s}) / (1 + n).

    Under exchangeability of healthy cases, a threshold on this value has at most that false alarm rate.

    Args:
        calib: Image scores of healthy calibration cases, (n,).
        scores: Image scores to evaluate, (m,).
    """
    ordered = np.sort(calib)
    at_least = len(ordered) - np.searchsorted(ordered, scores, side="left")
    return (1 + at_least) / (1 + len(ordered))


def false_alarm_error(p_values: Floats, patient: NDArray[np.int64], n: int) -> Statistic:
    """Returns the statistic "mean gap between stated and actual false alarm rate", 0 = calibrated, 0.5 = worst.

    Args:
        p_values: Conformal p values of healthy test cases, (m,).
        patient: Row of the patient of each case, (m,).
        n: Number of patients, each with at least one case; they have equal weight.
    """
    alarms = (p_values[:, None] <= LEVELS).astype(np.float64)
    rates = np.zeros((n, len(LEVELS)))
    np.add.at(rates, patient, alarms)
    rates = on_grid(rates / np.bincount(patient, minlength=n)[:, None])

    def error(counts: Floats) -> Floats:
        actual = counts @ rates / counts.sum(axis=1, keepdims=True)
        return np.abs(actual - LEVELS).mean(axis=1)

    return error


def lesion_probability(healthy: Floats, lesion: Floats, scores: Floats) -> Floats:
    """Returns probabilities of a lesion by a logistic curve through image scores (Platt 1999, with its targets).

    The curve is fitted to healthy calibration images without and with synthetic lesions, so no real lesion is
    used; both classes are assumed equally likely.

    Args:
        healthy: Image scores of healthy calibration cases, (n,).
        lesion: Image scores of cases with synthetic lesions, (m,).
        scores: Image scores to evaluate, (k,).
    """
    known = np.concatenate([healthy, lesion])
    centre, scale = known.mean(), known.std() or 1.0
    x = (known - centre) / scale
    # Targets inside (0, 1) keep the curve finite if the two classes do not overlap.
    target = np.repeat([1 / (len(healthy) + 2), (len(lesion) + 1) / (len(lesion) + 2)], [len(healthy), len(lesion)])
    weight = np.repeat([0.5 / len(healthy), 0.5 / len(lesion)], [len(healthy), len(lesion)])

    def loss(curve: Floats) -> tuple[float, Floats]:
        logit = curve[0] * x + curve[1]
        gap = weight * (expit(logit) - target)
        return float(weight @ (np.logaddexp(0, logit) - target * logit)), np.array([gap @ x, gap.sum()])

    slope, offset = minimize(loss, np.zeros(2), jac=True, method="BFGS", options={"gtol": 1e-9}).x
    return expit(slope * (scores - centre) / scale + offset)


def calibration_error(
    probability: Floats, truth: NDArray[np.bool_], patient: NDArray[np.int64], n: int, bins: int = 10
) -> Statistic:
    """Returns the statistic "mean gap between probability and frequency" over bins of equal width.

    The expected calibration error of Naeini et al. 2015, eq. 2, with both classes weighted to one half: the share of
    lesion cases in a test set is arbitrary and must not affect how calibrated a score is.

    Args:
        probability: Probability of a lesion of each case, (m,).
        truth: Whether there is one, (m,).
        patient: Row of the patient of each case, (m,).
        n: Number of patients.
        bins: Number of bins.
    """
    place = np.minimum((probability * bins).astype(np.int64), bins - 1)
    gaps = np.zeros((2, n, bins))  # for each class: stated minus actual, summed over the cases of a patient
    sizes = np.zeros((2, n))
    for k, chosen in enumerate((~truth, truth)):
        np.add.at(gaps[k], (patient[chosen], place[chosen]), probability[chosen] - k)
        sizes[k] = np.bincount(patient[chosen], minlength=n)
    gaps = on_grid(gaps)

    def error(counts: Floats) -> Floats:
        with np.errstate(invalid="ignore", divide="ignore"):  # a resample without one of the classes has no value
            mean = [0.5 * (counts @ gaps[k]) / (counts @ sizes[k])[:, None] for k in (0, 1)]
        return np.abs(mean[0] + mean[1]).sum(axis=1)

    return error
