"""Pooled pixel metrics and surface distances as ratios to other libraries, taken in one run.

``UADBENCH_BENCH_PIXELS`` sets the number of pixels (default 5e6; the figures in docs/protocol.md use 5e7).
"""

from __future__ import annotations

import os
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score

from uadbench.evaluation.distances import surface_scores
from uadbench.evaluation.streaming import pixel_curves

PIXELS = int(float(os.environ.get("UADBENCH_BENCH_PIXELS", "5e6")))
PART = 1 << 20


def distribution(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Scores and truth with 1 % lesion pixels."""
    rng = np.random.default_rng(0)
    truth = rng.random(PIXELS) < 0.01
    lesion = int(truth.sum())
    values = np.empty(PIXELS, np.float32)
    normal = PIXELS - lesion
    if name == "residual":
        values[~truth], values[truth] = np.abs(rng.normal(0, 0.08, normal)), np.abs(rng.normal(0.3, 0.15, lesion))
    elif name == "signed":
        values[~truth], values[truth] = rng.normal(0, 1, normal), rng.normal(1.5, 1, lesion)
    elif name == "distance":
        values[~truth], values[truth] = rng.gamma(2, 60, normal), rng.gamma(6, 60, lesion)
        np.clip(values, 0, 800, out=values)
    else:
        values[~truth], values[truth] = rng.beta(2, 8, normal), rng.beta(5, 4, lesion)
    return (np.round(values * 255) / np.float32(255) if name == "ties" else values), truth


def scikit_learn(values: np.ndarray, truth: np.ndarray) -> tuple[float, float, float]:
    area, ap = roc_auc_score(truth, values), average_precision_score(truth, values)
    precision, recall, _ = precision_recall_curve(truth, values)
    with np.errstate(invalid="ignore"):
        dice = np.nanmax(2 * precision * recall / (precision + recall))
    return float(area), float(ap), float(dice)


def seconds(call: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    result = call()
    return time.perf_counter() - start, result


@pytest.mark.parametrize("name", ["residual", "beta", "signed", "distance", "ties"])
def test_auroc_ap_and_best_dice_against_scikit_learn(benchmark: Any, name: str) -> None:
    values, truth = distribution(name)
    parts = [(values[i : i + PART], truth[i : i + PART]) for i in range(0, PIXELS, PART)]
    theirs, (area, ap, dice) = seconds(lambda: scikit_learn(values, truth))
    ours = benchmark.pedantic(lambda: pixel_curves(lambda: parts), rounds=3, iterations=1)
    tracemalloc.start()
    pixel_curves(lambda: parts)
    peak = tracemalloc.get_traced_memory()[1] / 2**20
    tracemalloc.stop()
    benchmark.extra_info.update(
        pixels=PIXELS,
        scikit_learn_s=theirs,
        ratio=theirs / benchmark.stats.stats.median,
        peak_mib=peak,
        certified_ap_error=ours.ap.error,
        actual_ap_error=abs(ours.ap.value - ap),
        passes=ours.passes,
    )
    assert ours.ap.low - 1e-9 <= ap <= ours.ap.high + 1e-9
    assert ours.auroc.low - 1e-9 <= area <= ours.auroc.high + 1e-9
    assert ours.dice.low - 1e-9 <= dice <= ours.dice.high + 1e-9
    assert ours.ap.error <= 1e-6
    assert peak < 64


def test_hd95_and_assd_of_a_volume(benchmark: Any) -> None:
    rng = np.random.default_rng(1)
    field = gaussian_filter(rng.normal(size=(160, 192, 160)).astype(np.float32), 6)
    other = field + 0.3 * gaussian_filter(rng.normal(size=field.shape).astype(np.float32), 6)
    masks = [np.asarray(f > np.quantile(field, 0.97)) for f in (field, other)]
    for mask in masks:
        mask[:, :, :50] = mask[:, :60] = False
    benchmark.pedantic(lambda: surface_scores(masks[0], masks[1], (1.0, 1.0, 1.0), 1.0), rounds=3, iterations=1)
    module = pytest.importorskip("surface_distance")
    theirs, _ = seconds(lambda: module.compute_surface_distances(masks[0], masks[1], (1.0, 1.0, 1.0)))
    benchmark.extra_info.update(surface_distance_s=theirs, ratio=theirs / benchmark.stats.stats.median)
