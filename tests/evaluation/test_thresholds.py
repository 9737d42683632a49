"""Threshold rules against brute force."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from uadbench.core.errors import DataError, UnknownName
from uadbench.evaluation.cases import CaseMaps
from uadbench.evaluation.protocol.thresholds import (
    HealthyFPR,
    Oracle,
    Val,
    best_dice_threshold,
    healthy_fpr_thresholds,
    parse_rule,
)


def make_case(case: str, patient: str, maps: np.ndarray, mask: np.ndarray | None = None) -> CaseMaps:
    maps = maps.astype(np.float32)
    return CaseMaps(case, patient, "", "c", maps, np.ones(maps.shape, bool), mask, None, float(maps.max()))


def mean_rate(calib: list[CaseMaps], threshold: float) -> float:
    values: dict[str, list[np.ndarray]] = {}
    for case in calib:
        values.setdefault(case.patient, []).append(case.maps[case.body])
    return float(np.mean([np.mean(np.concatenate(v) > np.float32(threshold)) for v in values.values()]))


@settings(max_examples=60)
@given(
    st.integers(0, 10**6),
    st.integers(1, 5),
    st.sampled_from([0.001, 0.01, 0.05, 0.3]),
    st.sampled_from(["normal", "ties", "equal"]),
)
def test_healthy_fpr_is_the_smallest_observed_threshold(seed: int, patients: int, rate: float, kind: str) -> None:
    rng = np.random.default_rng(seed)
    calib: list[CaseMaps] = []
    for p in range(patients):
        for k in range(int(rng.integers(1, 3))):
            maps = rng.normal(p, 1 + p, (int(rng.integers(1, 4)), 9, 7))
            maps = np.round(maps) if kind == "ties" else np.full_like(maps, -0.0) if kind == "equal" else maps
            calib.append(make_case(f"{p}-{k}", f"p{p}", maps))
    (threshold,) = healthy_fpr_thresholds(calib, [rate])
    observed = np.unique(np.concatenate([case.maps.ravel() for case in calib]))
    allowed = [v for v in observed if mean_rate(calib, v) <= rate + 1e-12]
    assert threshold == min(allowed)


def test_every_patient_weighs_the_same() -> None:
    small = make_case("a", "a", np.linspace(10, 11, 100).reshape(1, 10, 10))
    large = make_case("b", "b", np.zeros((50, 10, 10)))
    (threshold,) = healthy_fpr_thresholds([small, large], [0.05])
    assert mean_rate([small, large], threshold) == pytest.approx(0.05)
    assert threshold > 10.8


def test_pixels_outside_the_body_do_not_count() -> None:
    maps = np.zeros((1, 10, 10), np.float32)
    maps[0, :, 5:] = 9
    body = np.zeros((1, 10, 10), bool)
    body[0, :, :5] = True
    case = CaseMaps("a", "a", "", "c", maps, body, None, None, 0.0)
    assert healthy_fpr_thresholds([case], [0.01]) == [0.0]


def test_the_best_dice_threshold_is_the_best_common_one() -> None:
    rng = np.random.default_rng(3)
    cases: list[CaseMaps] = []
    for i in range(12):
        mask = np.zeros((1, 12, 12), np.uint8)
        mask[0, 3 : 4 + i % 4, 3:9] = i % 5 > 0
        cases.append(make_case(f"c{i}", f"p{i // 3}", rng.normal(size=mask.shape) + 1.5 * mask, mask))

    def mean_dice(threshold: float) -> float:
        dice: dict[str, list[float]] = {}
        for case in cases:
            truth, predicted = case.lesion, case.maps > np.float32(threshold)
            if truth.any():
                value = 2 * np.sum(truth & predicted) / (truth.sum() + predicted.sum())
                dice.setdefault(case.patient, []).append(float(value))
        return float(np.mean([np.mean(v) for v in dice.values()]))

    found = best_dice_threshold(cases)
    assert found is not None
    everywhere = max(mean_dice(v) for v in np.concatenate([case.maps.ravel() for case in cases]))
    # The grid has steps of 0.05 % of a value: at most a pixel or two may change side within one.
    assert mean_dice(found) == pytest.approx(everywhere, abs=2e-3)
    assert best_dice_threshold([case for case in cases if not case.lesion.any()]) is None


def test_rules_state_what_they_consume() -> None:
    rule = parse_rule("healthy-fpr@0.01")
    assert rule == HealthyFPR(0.01)
    assert (rule.labels_consumed, rule.tier) == ("none", "unsupervised")
    assert (Val().labels_consumed, Val().tier) == ("val masks", "weakly-supervised")
    assert (Oracle().labels_consumed, Oracle().tier) == ("test masks", "upper-bound")
    for wrong in ("healthy-fpr@2", "healthy-fpr", "healthy-fpr@0.010", "best"):
        with pytest.raises(UnknownName):
            parse_rule(wrong)


def test_bad_calibration_maps_are_named() -> None:
    case = make_case("scan-7", "p", np.full((1, 4, 4), np.nan))
    with pytest.raises(DataError, match="scan-7"):
        healthy_fpr_thresholds([case], [0.01])
