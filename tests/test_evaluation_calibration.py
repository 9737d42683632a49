"""Calibration of image scores."""

from __future__ import annotations

import numpy as np
import pytest

from uadbench.evaluation.calibration import conformal_p_values, expected_calibration_error, false_alarm_error


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


def test_expected_calibration_error_equals_its_definition() -> None:
    rng = np.random.default_rng(1)
    probability = rng.random(500)
    truth = rng.random(500) < probability**2
    expected = 0.0
    for k in range(10):
        here = (probability >= k / 10) & (probability < (k + 1) / 10)
        expected += here.mean() * abs(probability[here].mean() - truth[here].mean())
    assert expected_calibration_error(probability, truth) == pytest.approx(expected)
    assert expected_calibration_error(np.array([1.0, 0.0]), np.array([True, False])) == 0
