"""Pixel curves against scikit-learn and brute force, and the laws they obey."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.metrics import average_precision_score, roc_auc_score

from uadbench.core.errors import DataError, UserError
from uadbench.evaluation.metrics import streaming
from uadbench.evaluation.metrics.curves import (
    PixelHistogram,
    auroc,
    average_precision,
    below,
    best_dice,
    key_values,
    ordered_keys,
)
from uadbench.evaluation.metrics.streaming import Binning, PixelCounter, pixel_curves

TINY = float(np.finfo(np.float32).smallest_subnormal)
scores = hnp.arrays(np.float32, st.integers(2, 60), elements=st.floats(-800, 800, width=32))
tied = hnp.arrays(np.float32, st.integers(2, 60), elements=st.sampled_from([-1.0, -0.0, 0.0, TINY, 0.5, 800.0]))


def labels(size: int, seed: int) -> np.ndarray:
    truth = np.random.default_rng(seed).random(size) < 0.4
    truth[:2] = (True, False)
    return truth


def cases() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(0)
    n = 20000
    truth = rng.random(n) < 0.05
    normal = rng.normal(size=n) + 1.5 * truth
    return {
        "continuous": (normal, truth),
        "ties": (np.round(normal), truth),
        "all equal": (np.full(n, 0.3), truth),
        "negative": (normal - 100, truth),
        "0 to 800": (np.clip(normal * 100 + 300, 0, 800), truth),
        "denormals": (np.abs(normal) * 1e-40, truth),
        "zeros": (np.where(rng.random(n) < 0.9, 0.0, normal), truth),
    }


@given(scores | tied, st.integers(0, 99), st.sampled_from([-801.0, -1.0, 0.0, TINY, 0.25, 799.0, 801.0]))
def test_a_floor_gives_the_histogram_of_floored_values(values: np.ndarray, seed: int, threshold: float) -> None:
    truth, floor = labels(len(values), seed), min(0.0, threshold)
    expected = PixelHistogram.of(np.where(values > threshold, values, floor).astype(np.float32), truth)
    found = PixelHistogram.above_floor(values, truth, threshold, floor)
    for name in ("keys", "exact", "negatives", "positives"):
        assert np.array_equal(getattr(found, name), getattr(expected, name))
        assert getattr(found, name).dtype == getattr(expected, name).dtype


@pytest.mark.parametrize("name", list(cases()))
def test_exact_curves_equal_scikit_learn(name: str) -> None:
    values, truth = cases()[name]
    values = values.astype(np.float32)
    histogram = PixelHistogram.of(values, truth)
    area, ap = auroc(histogram), average_precision(histogram)
    assert area is not None
    assert ap is not None
    assert area.low == area.high == pytest.approx(roc_auc_score(truth, values), abs=1e-12)
    assert ap.low == ap.high == pytest.approx(average_precision_score(truth, values), abs=1e-12)


@pytest.mark.parametrize(("name", "bits"), list(product(cases(), (16, 20))))
def test_bounds_of_coarse_bins_hold_the_exact_values(name: str, bits: int) -> None:
    values, truth = cases()[name]
    values = values.astype(np.float32)
    coarse = PixelHistogram.of(values, truth).coarsen(bits)
    area, ap, best = auroc(coarse), average_precision(coarse), best_dice(coarse)
    exact = best_dice(PixelHistogram.of(values, truth))
    assert area is not None
    assert ap is not None
    assert best is not None
    assert exact is not None
    assert area.low - 1e-12 <= roc_auc_score(truth, values) <= area.high + 1e-12
    assert ap.low - 1e-12 <= average_precision_score(truth, values) <= ap.high + 1e-12
    assert best[0].low - 1e-12 <= exact[0].value <= best[0].high + 1e-12


@given(scores | tied, st.integers(0, 99), st.sampled_from([16, 18, 20]))
def test_bounds_hold_whatever_the_values(values: np.ndarray, seed: int, bits: int) -> None:
    truth = labels(values.size, seed)
    coarse = PixelHistogram.of(values, truth).coarsen(bits)
    area, ap = auroc(coarse), average_precision(coarse)
    assert area is not None
    assert ap is not None
    assert area.low - 1e-9 <= roc_auc_score(truth, values) <= area.high + 1e-9
    assert ap.low - 1e-9 <= average_precision_score(truth, values) <= ap.high + 1e-9


@given(scores | tied)
def test_keys_order_values_and_give_them_back(values: np.ndarray) -> None:
    keys = ordered_keys(values)
    assert np.array_equal(keys[:, None] < keys[None], values[:, None] < values[None])
    assert np.array_equal(key_values(keys), values)
    assert all(np.array_equal(values > t, values >= v) for t, v in zip(below(keys), values, strict=True))


@given(scores, st.integers(0, 99))
def test_monotone_transforms_change_nothing(values: np.ndarray, seed: int) -> None:
    truth = labels(values.size, seed)
    ranks = np.unique(values, return_inverse=True)[1].astype(np.float32) * 3 - 7
    for metric in (auroc, average_precision):
        assert metric(PixelHistogram.of(values, truth)) == metric(PixelHistogram.of(ranks, truth))


@given(scores, st.integers(0, 99), st.integers(0, 60))
def test_merging_is_counting_together(values: np.ndarray, seed: int, cut: int) -> None:
    truth = labels(values.size, seed)
    merged = PixelHistogram.of(values[:cut], truth[:cut]).merge(PixelHistogram.of(values[cut:], truth[cut:]))
    whole = PixelHistogram.of(values, truth)
    for name in ("keys", "negatives", "positives"):
        assert np.array_equal(getattr(merged, name), getattr(whole, name))


def test_best_dice_is_the_best_of_all_thresholds() -> None:
    values, truth = cases()["continuous"]
    values = values.astype(np.float32)[:800]
    truth = truth[:800]
    best = best_dice(PixelHistogram.of(values, truth))
    assert best is not None
    dice = [2 * np.sum((values > t) & truth) / (np.sum(values > t) + truth.sum()) for t in values]
    assert best[0].value == pytest.approx(max(dice))
    predicted = values > best[1]
    assert 2 * np.sum(predicted & truth) / (predicted.sum() + truth.sum()) == pytest.approx(max(dice))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_are_refused_by_name(bad: float) -> None:
    with pytest.raises(DataError, match="NaN" if np.isnan(bad) else "infinite"):
        PixelHistogram.of(np.array([0.1, bad], np.float32), np.array([True, False]))


def test_a_missing_class_has_no_value() -> None:
    values = np.array([0.1, 0.2], np.float32)
    healthy = PixelHistogram.of(values, np.zeros(2, bool))
    assert auroc(healthy) is None
    assert average_precision(healthy) is None
    assert best_dice(healthy) is None
    assert auroc(PixelHistogram.of(values, np.ones(2, bool))) is None


@pytest.mark.parametrize("name", ["continuous", "ties", "all equal", "negative", "0 to 800", "denormals", "zeros"])
def test_streamed_curves_are_certified_and_close(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "CHUNK", 777)
    values, truth = cases()[name]
    values = values.astype(np.float32)
    parts = list(zip(np.array_split(values, 5), np.array_split(truth, 5), strict=True))
    curves = pixel_curves(lambda: parts, exact_up_to=0)
    assert curves.ap is not None
    assert curves.auroc is not None
    assert curves.dice is not None
    assert curves.ap.error <= 1e-6
    assert curves.ap.low - 1e-12 <= average_precision_score(truth, values) <= curves.ap.high + 1e-12
    assert curves.auroc.low - 1e-12 <= roc_auc_score(truth, values) <= curves.auroc.high + 1e-12
    sorted_ = pixel_curves(lambda: parts)
    assert sorted_.ap is not None
    assert sorted_.dice is not None
    assert sorted_.ap.error == 0
    assert curves.dice.low - 1e-12 <= sorted_.dice.value <= curves.dice.high + 1e-12


def test_counters_merge_exactly_and_only_with_the_same_bins() -> None:
    values, truth = cases()["continuous"]
    values = values.astype(np.float32)
    whole, half, other = (PixelCounter(Binning.uniform(18)) for _ in range(3))
    whole.add(values, truth)
    half.add(values[:7000], truth[:7000])
    other.add(values[7000:], truth[7000:])
    half.merge(other)
    ours, theirs = half.histogram(), whole.histogram()
    assert np.array_equal(ours.keys, theirs.keys)
    assert np.array_equal(ours.positives, theirs.positives)
    coarse = PixelHistogram.of(values, truth).coarsen(18)
    assert np.array_equal(theirs.keys, coarse.keys)
    assert np.array_equal(theirs.negatives, coarse.negatives)
    compact = whole.histogram(compact=True)
    assert len(compact.keys) < len(theirs.keys)
    for metric in (auroc, average_precision):
        assert metric(compact) == metric(theirs)
    with pytest.raises(UserError, match="different binnings"):
        half.merge(PixelCounter(Binning.uniform(16)))


@settings(max_examples=20)
@given(st.integers(0, 10**6))
def test_uneven_bins_partition_the_keys(seed: int) -> None:
    rng = np.random.default_rng(seed)
    splits = np.zeros(streaming.CELLS, np.int64)
    splits[rng.integers(0, streaming.CELLS, 12)] = rng.integers(0, 17, 12)
    binning = Binning(splits)
    cells = np.concatenate([np.flatnonzero(splits), rng.integers(0, streaming.CELLS, 20)])
    keys = np.sort(((cells << 16) + rng.integers(0, 1 << 16, cells.size)).astype(np.uint32))
    bins = binning.bins(keys)
    assert (np.diff(bins) >= 0).all()
    first, exact = binning.first_keys(bins)
    assert (first <= keys).all()
    assert np.array_equal(binning.bins(first), bins)
    assert np.array_equal(exact, splits[keys >> 16] == 16)
