"""Calibration of image scores."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from uadbench.evaluation.statistics.calibration import (
    calibration_error,
    conformal_p_values,
    false_alarm_error,
    lesion_probability,
)


def error(calib: np.ndarray, scores: np.ndarray) -> float:
    patient = np.arange(len(scores))
    statistic = false_alarm_error(conformal_p_values(calib, scores), patient, len(scores))
    return float(statistic(np.ones((1, len(scores))))[0])


def test_conformal_p_values_equal_their_definition() -> None:
    calib = np.array([1.0, 2.0, 2.0, 5.0])
    scores = np.array([0.0, 2.0, 5.0, 6.0])
    assert conformal_p_values(calib, scores) == pytest.approx([(1 + np.sum(calib >= s)) / 5 for s in scores])


def test_exchangeable_healthy_cases_are_calibrated_and_shifted_ones_are_not() -> None:
    rng = np.random.default_rng(0)
    calib = rng.normal(size=2000)
    assert error(calib, rng.normal(size=2000)) < 0.02
    assert error(calib, rng.normal(size=2000) + 10) == pytest.approx(0.5, abs=0.01)
    assert error(calib, rng.normal(size=2000) + 0.5) > 0.1


def test_patients_weigh_the_same_whatever_their_cases() -> None:
    p_values = np.array([0.005] * 9 + [0.995])
    patient = np.array([0] * 9 + [1])
    value = false_alarm_error(p_values, patient, 2)(np.ones((1, 2)))[0]
    levels = np.arange(1, 100) / 100
    assert value == pytest.approx(np.abs(0.5 - levels).mean())


def ece(probability: np.ndarray, truth: np.ndarray) -> float:
    statistic = calibration_error(probability, truth, np.arange(len(truth)), len(truth))
    return float(statistic(np.ones((1, len(truth))))[0])


def test_calibration_error_equals_its_definition() -> None:
    rng = np.random.default_rng(1)
    probability = rng.random(500)
    truth = rng.random(500) < probability**2
    weight = np.where(truth, 0.5 / truth.sum(), 0.5 / (~truth).sum())
    expected = 0.0
    for k in range(10):
        here = (probability >= k / 10) & (probability < (k + 1) / 10)
        expected += abs(np.sum(weight[here] * (probability[here] - truth[here])))
    assert ece(probability, truth) == pytest.approx(expected)
    assert ece(np.array([1.0, 0.0]), np.array([True, False])) == 0
    assert ece(np.array([0.0, 1.0]), np.array([True, False])) == 1


def test_the_share_of_lesion_cases_does_not_move_the_calibration_error() -> None:
    rng = np.random.default_rng(2)
    healthy, lesion = rng.random(50), rng.random(50) ** 0.5
    one = ece(np.concatenate([healthy, lesion]), np.repeat([False, True], 50))
    more = ece(np.concatenate([healthy, lesion, lesion]), np.repeat([False, True], [50, 100]))
    assert more == pytest.approx(one)


@given(st.floats(0.1, 100), st.floats(-50, 50))
def test_probabilities_are_those_of_logistic_regression_at_any_scale(scale: float, shift: float) -> None:
    rng = np.random.default_rng(3)
    healthy, lesion, scores = rng.normal(0, 1, 4000), rng.normal(2, 1, 4000), np.linspace(-2, 4, 9)
    ours = lesion_probability(scale * healthy + shift, scale * lesion + shift, scale * scores + shift)
    # Two normal classes of equal variance: the log odds are 2 x - 2.
    assert ours == pytest.approx(1 / (1 + np.exp(-(2 * scores - 2))), abs=0.03)


def test_separated_and_constant_scores_have_finite_probabilities() -> None:
    apart = lesion_probability(np.zeros(20), np.ones(20), np.array([0.0, 0.5, 1.0]))
    assert apart[0] < 0.1
    assert apart[1] == pytest.approx(0.5, abs=1e-3)
    assert apart[2] > 0.9
    assert lesion_probability(np.zeros(5), np.zeros(5), np.zeros(1)) == pytest.approx(0.5)
