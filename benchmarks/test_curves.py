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
import torch
from scipy.ndimage import gaussian_filter
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score

from benchmarks.support.ratios import ROWS
from uadbench.evaluation.metrics.distances import surface_scores
from uadbench.evaluation.metrics.streaming import pixel_curves

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


def note(benchmark: Any, request: pytest.FixtureRequest, work: str, theirs: float, **notes: Any) -> None:
    """Adds a ratio to the table at the end."""
    ours = float(benchmark.stats.stats.median)
    row = {"work": work, "baseline_s": theirs, "product_s": ours, "ratio": theirs / ours, **notes}
    benchmark.extra_info.update(row)
    request.config.stash[ROWS].append(row)


@pytest.mark.parametrize("name", ["residual", "beta", "signed", "distance", "ties"])
def test_auroc_ap_and_best_dice_against_scikit_learn(benchmark: Any, request: pytest.FixtureRequest, name: str) -> None:
    values, truth = distribution(name)
    parts = [(values[i : i + PART], truth[i : i + PART]) for i in range(0, PIXELS, PART)]
    theirs, (area, ap, dice) = seconds(lambda: scikit_learn(values, truth))
    ours = benchmark.pedantic(lambda: pixel_curves(lambda: parts), rounds=3, iterations=1)
    tracemalloc.start()
    pixel_curves(lambda: parts)
    peak = tracemalloc.get_traced_memory()[1] / 2**20
    tracemalloc.stop()
    # The baseline takes half a minute at 5e7 pixels, so it runs once and not in turns.
    note(
        benchmark,
        request,
        f"AUROC, AP, best Dice of {PIXELS:.0e} pixels, {name} (scikit-learn)",
        theirs,
        peak_mib=round(peak, 1),
        certified_ap_error=f"{ours.ap.error:.1e}",
        actual_ap_error=f"{abs(ours.ap.value - ap):.1e}",
        passes=ours.passes,
    )
    assert ours.ap.low - 1e-9 <= ap <= ours.ap.high + 1e-9
    assert ours.auroc.low - 1e-9 <= area <= ours.auroc.high + 1e-9
    assert ours.dice.low - 1e-9 <= dice <= ours.dice.high + 1e-9
    assert ours.ap.error <= 1e-6
    assert peak < 64


def blobs() -> list[np.ndarray]:
    """Two overlapping masks of 160 x 192 x 160."""
    rng = np.random.default_rng(1)
    field = gaussian_filter(rng.normal(size=(160, 192, 160)).astype(np.float32), 6)
    other = field + 0.3 * gaussian_filter(rng.normal(size=field.shape).astype(np.float32), 6)
    masks = [np.asarray(f > np.quantile(field, 0.97)) for f in (field, other)]
    for mask in masks:
        mask[:, :, :50] = mask[:, :60] = False
    return masks


def test_distances_of_a_volume_against_surface_distance(versus: Any) -> None:
    first, second = blobs()
    module = pytest.importorskip("surface_distance")
    versus(
        "HD95, ASSD and NSD of a 160 x 192 x 160 pair (surface-distance)",
        lambda: module.compute_surface_distances(first, second, (1.0, 1.0, 1.0)),
        lambda: surface_scores(first, second, (1.0, 1.0, 1.0), 1.0),
        rounds=3,
        voxels=int(first.sum() + second.sum()),
    )


def test_distances_of_a_volume_against_monai(benchmark: Any, request: pytest.FixtureRequest) -> None:
    pytest.importorskip("monai")
    from monai.metrics.hausdorff_distance import compute_hausdorff_distance
    from monai.metrics.surface_distance import compute_average_surface_distance

    first, second = blobs()
    a, b = (torch.from_numpy(mask)[None, None].float() for mask in (first, second))

    def monai() -> tuple[float, float]:
        hd95 = compute_hausdorff_distance(a, b, include_background=True, percentile=95)
        assd = compute_average_surface_distance(a, b, include_background=True, symmetric=True)
        return float(hd95), float(assd)

    theirs, (hd95, assd) = seconds(monai)
    ours = benchmark.pedantic(lambda: surface_scores(first, second, (1.0, 1.0, 1.0), 1.0), rounds=3, iterations=1)
    note(
        benchmark,
        request,
        "HD95 and ASSD of a 160 x 192 x 160 pair (MONAI)",
        theirs,
        hd95_error=f"{abs(ours.hd95 - hd95):.1e}",
        assd_error=f"{abs(ours.assd - assd):.1e}",
    )
    assert ours.hd95 == pytest.approx(hd95, abs=1e-5)  # MONAI works in single precision
    assert ours.assd == pytest.approx(assd, abs=1e-5)
