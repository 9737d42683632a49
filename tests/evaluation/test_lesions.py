"""Lesion-wise scores and pixel metrics of one case against brute force."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from uadbench.evaluation.metrics.lesions import aupro, detection_by_size, equivalent_diameters, lesion_scores
from uadbench.evaluation.metrics.pixels import Overlap, dice_ceiling, outside, ssim_map, top_mean


def flood(mask: np.ndarray, full: bool) -> list[set[tuple[int, ...]]]:
    """Connected components by walking from pixel to pixel."""
    left = {tuple(int(i) for i in p) for p in np.argwhere(mask)}
    steps = [d for d in np.ndindex(3, 3, 3) if full or sum(abs(i - 1) for i in d) == 1]
    found: list[set[tuple[int, ...]]] = []
    while left:
        component, todo = set[tuple[int, ...]](), [left.pop()]
        while todo:
            point = todo.pop()
            component.add(point)
            for d in steps:
                near = tuple(a + b - 1 for a, b in zip(point, d, strict=True))
                if near in left:
                    left.remove(near)
                    todo.append(near)
        found.append(component)
    return found


@given(st.integers(0, 10**6), st.booleans(), st.sampled_from([0.1, 0.5, 1.0]))
def test_lesion_scores_equal_brute_force(seed: int, full: bool, overlap: float) -> None:
    rng = np.random.default_rng(seed)
    prediction, truth = rng.random((2, 2, 7, 6)) < 0.3
    ours = lesion_scores(prediction, truth, overlap=overlap, full=full)
    lesions, components = flood(truth, full), flood(prediction, full)
    found = sum(sum(prediction[p] for p in lesion) >= overlap * len(lesion) for lesion in lesions)
    right = sum(sum(truth[p] for p in component) >= overlap * len(component) for component in components)
    assert (ours.lesions, ours.found, ours.components, ours.right) == (len(lesions), found, len(components), right)
    if lesions and components and found + right:
        s, p = found / len(lesions), right / len(components)
        assert ours.f1 == pytest.approx(2 * s * p / (s + p))


def test_one_blob_over_everything_is_not_rewarded() -> None:
    truth = np.zeros((1, 30, 30), bool)
    truth[0, 2:4, 2:4] = truth[0, 20:23, 20:23] = True
    everything = lesion_scores(np.ones_like(truth), truth, overlap=0.1)
    assert (everything.found, everything.right, everything.f1) == (2, 0, 0.0)
    assert lesion_scores(truth, truth, overlap=0.1).f1 == 1
    assert lesion_scores(np.zeros_like(truth), truth, overlap=0.1).f1 == 0
    assert np.isnan(lesion_scores(truth, np.zeros_like(truth), overlap=0.1).f1)


@given(st.integers(0, 10**6))
def test_overlap_counts(seed: int) -> None:
    rng = np.random.default_rng(seed)
    prediction, truth = rng.random((2, 50)) < 0.4
    ours = Overlap.of(prediction, truth)
    assert ours.tp + ours.fp + ours.fn + ours.tn == 50
    assert ours.tp == sum(a and b for a, b in zip(prediction, truth, strict=True))
    if truth.any():
        assert ours.dice == pytest.approx(2 * ours.iou / (1 + ours.iou))
        assert ours.recall == pytest.approx(prediction[truth].mean())
        assert ours.precision == pytest.approx(truth[prediction].mean() if prediction.any() else 0)


def test_the_ceiling_is_what_a_perfect_detector_gets() -> None:
    truth = np.zeros(1000, bool)
    truth[:100] = True
    prediction = truth.copy()
    prediction[100:145] = True  # 5 % of the 900 normal pixels
    assert dice_ceiling(100, 1000, 0.05) == pytest.approx(Overlap.of(prediction, truth).dice)


def test_the_image_score_is_the_mean_of_the_top_percent() -> None:
    values = np.random.default_rng(0).permutation(1000).astype(np.float32)
    assert top_mean(values, 0.01) == pytest.approx(np.arange(990, 1000).mean())
    assert top_mean(values[:5], 0.01) == values[:5].max()


def test_ssim_equals_its_definition_pixel_by_pixel() -> None:
    rng = np.random.default_rng(1)
    a, b = rng.random((2, 1, 25, 25)).astype(np.float32)
    ours = ssim_map(a, b, 1.0)[0]
    offsets = np.arange(-5, 6)
    window = np.exp(-(offsets[:, None] ** 2 + offsets[None] ** 2) / (2 * 1.5**2))
    window /= window.sum()
    for r, c in ((5, 5), (12, 13), (19, 7)):
        x, y = (i[0, r - 5 : r + 6, c - 5 : c + 6].astype(np.float64) for i in (a, b))
        mx, my = (window * x).sum(), (window * y).sum()
        vx, vy = (window * (x - mx) ** 2).sum(), (window * (y - my) ** 2).sum()
        cov = (window * (x - mx) * (y - my)).sum()
        expected = (2 * mx * my + 1e-4) * (2 * cov + 9e-4) / ((mx**2 + my**2 + 1e-4) * (vx + vy + 9e-4))
        assert ours[r, c] == pytest.approx(expected)
    assert ssim_map(a, a, 1.0) == pytest.approx(1.0)


def test_outside_keeps_its_distance_from_lesions() -> None:
    lesion = np.zeros((2, 20, 20), bool)
    lesion[0, 10, 10] = True
    area = outside(lesion, np.ones_like(lesion), 3)
    rows, columns = np.mgrid[:20, :20]
    assert np.array_equal(area[0], np.maximum(abs(rows - 10), abs(columns - 10)) > 3)
    assert area[1].all()


@given(st.integers(0, 10**6), st.sampled_from([0.05, 0.3, 1.0]), st.booleans())
def test_aupro_equals_brute_force(seed: int, limit: float, ties: bool) -> None:
    rng = np.random.default_rng(seed)
    truth, scored = rng.random((1, 9, 9)) < 0.2, rng.random((1, 9, 9)) < 0.9
    truth[0, 4, 4] = scored[0, 4, 4] = scored[0, 0, 0] = True
    truth[0, 0, 0] = False
    maps = (rng.normal(size=truth.shape) + truth).astype(np.float32)
    maps = np.round(maps) if ties else maps
    regions = flood(truth & scored, True)
    points = [(0.0, 0.0)]
    for t in np.unique(maps[scored])[::-1]:
        hit = scored & (maps >= t)
        fpr = (hit & ~truth).sum() / (scored & ~truth).sum()
        points.append((float(fpr), float(np.mean([np.mean([hit[p] for p in r]) for r in regions]))))
    area = 0.0
    for (x0, y0), (x1, y1) in pairwise(points):
        if x0 < limit and x1 > x0:
            end = min(x1, limit)
            area += (end - x0) * (y0 + y0 + (y1 - y0) * (end - x0) / (x1 - x0)) / 2
    assert aupro(maps, truth, scored, limit=limit) == pytest.approx(area / limit)


def test_aupro_of_extremes() -> None:
    truth = np.zeros((1, 10, 10), bool)
    truth[0, 2:5, 2:5] = True
    everything = np.ones_like(truth)
    assert aupro(truth.astype(np.float32), truth, everything, limit=0.3) == pytest.approx(1)
    assert aupro(-truth.astype(np.float32), truth, everything, limit=0.3) == pytest.approx(0)
    assert aupro(np.zeros(truth.shape, np.float32), truth, everything, limit=0.3) == pytest.approx(0.15)
    assert np.isnan(aupro(np.zeros(truth.shape, np.float32), ~everything, everything, limit=0.3))


def test_detection_by_size() -> None:
    sizes = np.array([4, 100, 400])
    diameters = equivalent_diameters(sizes, (9.0, 0.5, 0.5), 1)
    assert diameters == pytest.approx(2 * np.sqrt(sizes * 0.25 / np.pi))
    assert equivalent_diameters(sizes, (1.0, 1.0, 1.0), 5) == pytest.approx((6 * sizes / np.pi) ** (1 / 3))
    lesions = ([0.5, 1.0, 3.0, 7.0], [False, True, True, True])
    components = ([1.0, 2.0, 2.5, 8.0, 9.0], [True, False, False, False, False])
    table = detection_by_size(lesions, components, [0.0, 3.0, 6.0])
    assert [row["lesions"] for row in table] == [2, 1, 1]
    assert [row["sensitivity"] for row in table] == [0.5, 1.0, 1.0]
    assert [row["components"] for row in table] == [3, 0, 2]
    assert [row["precision"] for row in table] == [pytest.approx(1 / 3), None, 0.0]
    assert [row["f1"] for row in table] == [pytest.approx(0.4), None, 0.0]
    assert detection_by_size(([1.0], [True]), ([], []), [0.0, 3.0])[1]["sensitivity"] is None
