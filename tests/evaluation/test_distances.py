"""Surface distances against MONAI, surface-distance and brute force."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from uadbench.evaluation.metrics.distances import surface_scores

Box = tuple[float, float, float]


def blobs(seed: int, shape: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    from scipy.ndimage import gaussian_filter

    rng = np.random.default_rng(seed)
    field = gaussian_filter(rng.normal(size=shape), (0 if shape[0] == 1 else 2, 2, 2))
    other = field + 0.5 * gaussian_filter(rng.normal(size=shape), (0 if shape[0] == 1 else 2, 2, 2))
    return field > np.quantile(field, 0.8), other > np.quantile(other, 0.85)


@pytest.mark.parametrize(("seed", "shape"), [(0, (1, 40, 50)), (1, (12, 30, 26)), (2, (5, 20, 20)), (3, (1, 9, 9))])
@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (3.0, 0.5, 0.8)])
def test_distances_equal_monai(seed: int, shape: tuple[int, int, int], spacing: Box) -> None:
    metrics: Any = pytest.importorskip("monai.metrics")
    torch: Any = pytest.importorskip("torch")
    prediction, truth = blobs(seed, shape)
    ours = surface_scores(prediction, truth, spacing, 1.0)
    flat = shape[0] == 1
    a, b = (torch.from_numpy((m[0] if flat else m)[None, None].astype(np.float32)) for m in (prediction, truth))
    steps = list(spacing[1:] if flat else spacing)
    hd = metrics.compute_hausdorff_distance(a, b, include_background=True, percentile=95, spacing=steps)
    mean = metrics.compute_average_surface_distance(a, b, include_background=True, symmetric=True, spacing=steps)
    assert ours.hd95 == pytest.approx(float(hd), abs=1e-6, rel=1e-6)
    assert ours.assd == pytest.approx(float(mean), abs=1e-6, rel=1e-6)


def edge_points(mask: np.ndarray, spacing: Box) -> np.ndarray:
    padded = np.pad(mask, 1)
    inner = padded.copy()
    for axis in (1, 2) if mask.shape[0] == 1 else (0, 1, 2):
        inner &= np.roll(padded, 1, axis) & np.roll(padded, -1, axis)
    return np.argwhere(padded & ~inner) * np.array(spacing)


@pytest.mark.parametrize("shape", [(1, 25, 25), (6, 14, 12)])
def test_distances_equal_brute_force(shape: tuple[int, int, int]) -> None:
    prediction, truth = blobs(5, shape)
    spacing = (2.0, 0.7, 1.1)
    table = cdist(edge_points(prediction, spacing), edge_points(truth, spacing))
    forward, backward = table.min(axis=1), table.min(axis=0)
    ours = surface_scores(prediction, truth, spacing, 1.0)
    both = np.concatenate([forward, backward])
    assert ours.hd95 == pytest.approx(max(np.percentile(forward, 95), np.percentile(backward, 95)))
    assert ours.assd == pytest.approx(both.mean())
    assert ours.nsd == pytest.approx(np.mean(both <= 1.0))


def test_nsd_is_close_to_the_one_weighted_by_surface_area() -> None:
    module: Any = pytest.importorskip("surface_distance")
    prediction, truth = blobs(7, (16, 30, 30))
    theirs = module.compute_surface_dice_at_tolerance(
        module.compute_surface_distances(truth, prediction, (1.0, 1.0, 1.0)), 2.0
    )
    # surface-distance weighs surface elements between voxels, this project counts edge voxels.
    assert surface_scores(prediction, truth, (1.0, 1.0, 1.0), 2.0).nsd == pytest.approx(theirs, abs=0.05)


def test_a_shift_moves_the_distance_and_a_flip_does_not() -> None:
    truth = np.zeros((1, 40, 40), bool)
    truth[0, 10:16, 10:16] = True
    for step in (1, 3, 7):
        moved = np.roll(truth, step, axis=2)
        ours = surface_scores(moved, truth, (1.0, 0.5, 2.0), 1.0)
        assert ours.hd95 == pytest.approx(2.0 * step)
        flipped = surface_scores(moved[:, ::-1, ::-1], truth[:, ::-1, ::-1], (1.0, 0.5, 2.0), 1.0)
        assert flipped == ours
        assert surface_scores(truth, moved, (1.0, 0.5, 2.0), 1.0).hd95 == ours.hd95


def test_conventions_for_empty_masks() -> None:
    truth = np.zeros((1, 4, 5), bool)
    truth[0, 1, 1] = True
    worst = surface_scores(np.zeros_like(truth), truth, (1.0, 1.0, 1.0), 1.0)
    assert worst.hd95 == pytest.approx(5.0)
    assert worst.nsd == 0
    assert np.isnan(surface_scores(truth, np.zeros_like(truth), (1.0, 1.0, 1.0), 1.0).hd95)
    same = surface_scores(truth, truth, (1.0, 1.0, 1.0), 1.0)
    assert (same.hd95, same.assd, same.nsd) == (0.0, 0.0, 1.0)
