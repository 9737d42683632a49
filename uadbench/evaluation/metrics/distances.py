"""Surface distances of two binary masks in millimetres."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import KDTree


@dataclass(frozen=True)
class SurfaceScores:
    """Distances between the edges of prediction and truth.

    Attributes:
        hd95: Larger of the two directed 95th percentiles, mm.
        assd: Mean over all edge pixels of both, mm.
        nsd: Share of all edge pixels within the tolerance of the other edge, in [0, 1].
    """

    hd95: float
    assd: float
    nsd: float


def surface_scores(
    prediction: NDArray[np.bool_], truth: NDArray[np.bool_], spacing: tuple[float, float, float], tolerance: float
) -> SurfaceScores:
    """Compares the edges of two masks of shape (n, h, w).

    The edge of a mask is what erosion by its face neighbours removes (pixels at the border of the array count as
    edge). Only the bounding box of both masks is used. A single frame (n = 1) is compared in two dimensions.

    Args:
        prediction: Predicted mask.
        truth: True mask, not empty.
        spacing: Millimetres (slice, row, column).
        tolerance: Tolerance of NSD in mm.

    Returns:
        For an empty prediction the worst values: the diagonal of the array, and NSD 0; NaN for an empty truth.
    """
    if not truth.any():
        return SurfaceScores(math.nan, math.nan, math.nan)
    if truth.shape[0] == 1:
        prediction, truth, steps = prediction[0], truth[0], spacing[1:]
    else:
        steps = spacing
    if not prediction.any():
        diagonal = math.hypot(*((size - 1) * step for size, step in zip(truth.shape, steps, strict=True)))
        return SurfaceScores(diagonal, diagonal, 0.0)
    box = _bounding_box(prediction | truth)
    forward, backward = _edge_distances(prediction[box], truth[box], steps)
    both = np.concatenate([forward, backward])
    return SurfaceScores(
        hd95=float(max(np.percentile(forward, 95), np.percentile(backward, 95))),
        assd=float(both.mean()),
        nsd=float(np.mean(both <= tolerance)),
    )


def _edge_distances(
    first: NDArray[np.bool_], second: NDArray[np.bool_], spacing: tuple[float, ...]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Returns the distance of each edge pixel of the first to the edge of the second, and the reverse."""
    # Exact nearest neighbours of the edge pixels: distance transforms would fill the whole box to read its edges.
    a, b = (np.argwhere(_edge(mask)) * np.asarray(spacing) for mask in (first, second))
    trees = [KDTree(points, balanced_tree=False, compact_nodes=False) for points in (a, b)]
    forward, backward = trees[1].query(a)[0], trees[0].query(b)[0]
    return np.asarray(forward, np.float64), np.asarray(backward, np.float64)


def _edge(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    return mask & ~ndimage.binary_erosion(mask)


def _bounding_box(mask: NDArray[np.bool_]) -> tuple[slice, ...]:
    return ndimage.find_objects(mask.astype(np.uint8))[0]
