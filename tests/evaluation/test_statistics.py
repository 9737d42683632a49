"""Intervals and tests against SciPy, scikit-learn and simulation."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import average_precision_score, roc_auc_score

from uadbench.core.errors import DataError, UserError
from uadbench.evaluation.statistics import intervals
from uadbench.evaluation.statistics.comparisons import (
    critical_difference,
    declared_comparisons,
    holm,
    minimum_detectable_difference,
    paired_difference,
    probability_of_improvement,
    rank_intervals,
    table_of,
    variance_components,
)
from uadbench.evaluation.statistics.intervals import patient_interval, weighted_mean


def interval_of(values: np.ndarray, seed: int = 0) -> intervals.Interval:
    mean = weighted_mean(values)
    return patient_interval(mean, len(values), resamples=1000, confidence=0.95, seed=seed, minimum=10)


def draw(kind: str, n: int, rng: np.random.Generator) -> np.ndarray:
    if kind == "normal":
        return rng.normal(0.5, 0.15, n)
    return np.where(rng.random(n) < 0.3, 0.0, rng.beta(3, 3, n))  # Dice with three missed lesions in ten


TRUTH = {"normal": 0.5, "zero-inflated": 0.35}


def test_the_interval_of_a_mean_equals_the_one_of_scipy_on_the_values() -> None:
    values = draw("zero-inflated", 40, np.random.default_rng(1))
    ours = interval_of(values)
    theirs = stats.bootstrap(
        (values,), np.mean, n_resamples=1000, method="BCa", rng=np.random.default_rng(0), batch=256
    ).confidence_interval
    assert ours.low == pytest.approx(theirs.low)
    assert ours.high == pytest.approx(theirs.high)


def test_degenerate_and_small_samples() -> None:
    constant = interval_of(np.full(12, 0.7))
    assert (constant.low, constant.high) == (pytest.approx(0.7), pytest.approx(0.7))
    assert interval_of(np.arange(9.0)).low is None


@given(st.integers(0, 10**6))
def test_image_statistics_equal_scikit_learn_with_repeated_patients(seed: int) -> None:
    rng = np.random.default_rng(seed)
    patient = rng.integers(0, 5, 20)
    positive = rng.random(20) < 0.5
    positive[:2] = (True, False)
    scores = np.round(rng.normal(size=20), 1)
    counts = rng.integers(0, 3, 5)
    counts[patient[:2]] = 2
    weight = counts[patient]
    area = intervals.image_auroc(scores, positive, patient, 5)(counts[None].astype(float))[0]
    ap = intervals.image_ap(scores, positive, patient)(counts[None].astype(float))[0]
    assert area == pytest.approx(roc_auc_score(positive, scores, sample_weight=weight))
    assert ap == pytest.approx(average_precision_score(positive, scores, sample_weight=weight))


def test_pooled_statistics_equal_scikit_learn_on_fine_bins() -> None:
    rng = np.random.default_rng(2)
    value, truth, patient = np.arange(400), rng.random(400) < 0.3, rng.integers(0, 6, 400)
    negatives, positives = np.zeros((6, 400)), np.zeros((6, 400))
    negatives[patient[~truth], value[~truth]] = 1
    positives[patient[truth], value[truth]] = 1
    counts = np.array([[1.0, 2, 0, 1, 3, 1]])
    weight = counts[0][patient]
    area = intervals.pooled_auroc(negatives, positives)(counts)[0]
    assert area == pytest.approx(roc_auc_score(truth, value, sample_weight=weight))
    ap = intervals.pooled_ap(negatives, positives)(np.ones((1, 6)))[0]
    assert ap == pytest.approx(average_precision_score(truth, value), abs=0.01)


def test_better_means_that_the_lower_bound_is_above_zero() -> None:
    rng = np.random.default_rng(3)
    base = draw("zero-inflated", 40, rng)
    clear = paired_difference(base + rng.normal(0.05, 0.02, 40), base)
    assert clear.better
    assert clear.p_value is not None
    assert clear.p_value < 0.001
    noise = rng.normal(0, 0.02, 40)
    none = paired_difference(base + noise - noise.mean(), base)  # a mean difference of exactly nothing
    assert not none.better
    few = paired_difference(base[:9] + 0.1, base[:9])
    assert not few.better
    assert (few.low, few.p_value) == (None, None)
    assert paired_difference(base, base).p_value == 1


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_equals_its_definition(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    ranked = sorted(range(len(p_values)), key=lambda i: (p_values[i], i))
    running = 0.0
    for step, i in enumerate(ranked):
        running = max(running, min(1.0, (len(p_values) - step) * p_values[i]))
        assert adjusted[i] == pytest.approx(running)


def test_declared_comparisons_are_adjusted_together() -> None:
    rng = np.random.default_rng(4)
    base = rng.normal(0.4, 0.1, 30)
    rows = {name: base + shift + rng.normal(0, 0.05, 30) for name, shift in (("a", 0.03), ("b", 0.0), ("c", 0.1))}
    table = table_of({name: {f"p{i}": float(v) for i, v in enumerate(values)} for name, values in rows.items()})
    pairs = [("a", "b"), ("c", "b")]
    results = declared_comparisons(table, pairs)
    raw = [float(stats.wilcoxon(rows[x] - rows[y], zero_method="zsplit").pvalue) for x, y in pairs]
    assert [results[pair].p_value for pair in pairs] == pytest.approx(holm(raw))
    with pytest.raises(UserError, match="'d'"):
        declared_comparisons(table, [("a", "d")])


def test_incomplete_rows_are_refused() -> None:
    with pytest.raises(DataError, match="Row b has no value for 1 of 2 patients"):
        table_of({"a": {"p": 1.0, "q": 2.0}, "b": {"p": 1.0}})
    with pytest.raises(DataError, match="not finite"):
        paired_difference(np.array([1.0, np.nan]), np.array([1.0, 2.0]))


def test_critical_difference_equals_demsars_formula() -> None:
    rng = np.random.default_rng(5)
    base = rng.normal(0.5, 0.1, 30)
    table = pd.DataFrame({k: base + d + rng.normal(0, 0.05, 30) for k, d in (("x", 0.1), ("y", 0.0), ("z", -0.1))})
    result = critical_difference(table)
    assert list(result.mean_ranks) == ["x", "y", "z"]
    assert result.mean_ranks["x"] < result.mean_ranks["y"] < result.mean_ranks["z"]
    assert sum(result.mean_ranks.values()) == pytest.approx(6)
    assert result.critical_difference == pytest.approx(2.343 * np.sqrt(3 * 4 / (6 * 30)), rel=1e-3)
    gap = abs(result.mean_ranks["x"] - result.mean_ranks["z"])
    assert (gap > result.critical_difference) == (result.nemenyi.to_numpy(np.float64)[0, 2] < 0.05)
    assert result.friedman_p == pytest.approx(stats.friedmanchisquare(*table.to_numpy().T).pvalue)
    with pytest.raises(DataError, match="too few"):
        critical_difference(table.head(5))


def test_rank_intervals_hold_the_ranks() -> None:
    rng = np.random.default_rng(6)
    base = rng.normal(0.5, 0.2, 25)
    table = pd.DataFrame(
        {"best": base + 0.3, "twin": base, "worst": base - 0.2, "other": base + rng.normal(0, 0.1, 25)}
    )
    ranks = rank_intervals(table)
    assert (ranks["best"].rank, ranks["best"].low, ranks["best"].high) == (1, 1, 1)
    assert ranks["worst"].rank == 4
    assert ranks["twin"].low < ranks["twin"].high
    assert all(r.low <= r.rank <= r.high for r in ranks.values())


def test_probability_of_improvement_counts_wins() -> None:
    first, second = np.arange(20.0), np.r_[np.arange(5.0), np.arange(5.0, 20) - 1]
    result = probability_of_improvement(first, second)
    assert result.value == pytest.approx((15 + 2.5) / 20)
    assert result.low is not None
    assert result.low < result.value


def test_the_minimum_detectable_difference_is_found_that_often() -> None:
    rng = np.random.default_rng(7)
    shape = rng.normal(0, 0.1, 30)
    effect = minimum_detectable_difference(shape)
    scale = shape.std(ddof=1)
    p_values = stats.ttest_1samp(rng.normal(effect, scale, (2000, 30)), 0, axis=1).pvalue
    found = np.asarray(p_values) < 0.05
    assert np.mean(found) == pytest.approx(0.8, abs=0.03)


def test_variance_components_are_recovered() -> None:
    rng = np.random.default_rng(8)
    seeds, patients = rng.normal(0, 0.03, (400, 3, 1)), rng.normal(0, 0.2, (400, 1, 40))
    tables = 0.5 + seeds + patients + rng.normal(0, 0.05, (400, 3, 40))
    found = [variance_components(table) for table in tables]
    assert np.mean([f.seed for f in found]) == pytest.approx(0.03**2, rel=0.15)
    assert np.mean([f.patient for f in found]) == pytest.approx(0.2**2, rel=0.05)
    assert np.mean([f.residual for f in found]) == pytest.approx(0.05**2, rel=0.05)
    with pytest.raises(DataError, match="complete"):
        variance_components(np.ones((1, 5)))


@pytest.mark.slow
@pytest.mark.parametrize("n", [30, 60])
@pytest.mark.parametrize("kind", ["normal", "zero-inflated"])
def test_intervals_cover_what_they_claim(kind: str, n: int) -> None:
    rng = np.random.default_rng(10)
    hits = 0
    for i in range(2000):
        values = draw(kind, n, rng)
        interval = interval_of(values, seed=i)
        assert interval.low is not None
        assert interval.high is not None
        hits += interval.low <= TRUTH[kind] <= interval.high
    assert 0.93 <= hits / 2000 <= 0.97


@pytest.mark.slow
def test_comparisons_under_the_null_are_rarely_significant() -> None:
    rng = np.random.default_rng(11)
    family, single, better = 0, 0, 0
    for i in range(1000):
        base = draw("zero-inflated", 30, rng)
        rows = {k: np.clip(base + rng.normal(0, 0.1, 30), 0, 1) for k in "abcd"}
        table = pd.DataFrame(rows)
        results = declared_comparisons(table, [("a", "b"), ("c", "d")], seed=i)
        family += min(r.p_value or 1 for r in results.values()) < 0.05
        single += float(stats.wilcoxon(rows["a"] - rows["b"], zero_method="zsplit").pvalue) < 0.05
        better += results["a", "b"].better
    # One-sided at 2.5 %, and 5 % for the family, each with three standard errors of 1000 simulations.
    assert family / 1000 <= 0.05 + 0.021
    assert single / 1000 <= 0.05 + 0.021
    assert better / 1000 <= 0.025 + 0.015
