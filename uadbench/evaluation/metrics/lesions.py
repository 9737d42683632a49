"""Lesion-wise detection: connected components of truth and prediction."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage


@dataclass(frozen=True)
class LesionScores:
    """Detection of the lesions of one case.

    Attributes:
        lesions: Number of lesions.
        found: Lesions with a sufficient share predicted.
        components: Predicted components.
        right: Predicted components with a sufficient share of lesion.
        sizes: Pixels of each lesion, (lesions,).
        hits: Whether each lesion is found, (lesions,).
        areas: Pixels of each predicted component, (components,).
        correct: Whether each component is right, (components,).
    """

    lesions: int
    found: int
    components: int
    right: int
    sizes: NDArray[np.int64]
    hits: NDArray[np.bool_]
    areas: NDArray[np.int64]
    correct: NDArray[np.bool_]

    @property
    def sensitivity(self) -> float:
        """Share of lesions found; NaN without lesion."""
        return self.found / self.lesions if self.lesions else math.nan

    @property
    def f1(self) -> float:
        """Harmonic mean of found / lesions and right / components; NaN without lesion, 0 without prediction."""
        if not self.lesions:
            return math.nan
        if not self.components:
            return 0.0
        sensitivity, precision = self.found / self.lesions, self.right / self.components
        return 2 * sensitivity * precision / (sensitivity + precision) if sensitivity + precision else 0.0


def lesion_scores(
    prediction: NDArray[np.bool_], truth: NDArray[np.bool_], *, overlap: float, full: bool = True
) -> LesionScores:
    """Matches components of two masks (n, h, w).

    A lesion is found if at least ``overlap`` of its pixels are predicted; a predicted component is right if at least
    ``overlap`` of its pixels are lesion, so one component covering everything is not rewarded.

    Args:
        prediction: Predicted mask.
        truth: True mask.
        overlap: Share in (0, 1].
        full: Whether diagonal neighbours connect (8 in a frame, 26 in a volume) or faces alone (4, 6).
    """
    structure = ndimage.generate_binary_structure(3, 3 if full else 1)
    sizes, covered = _components(truth, prediction, structure)
    areas, inside = _components(prediction, truth, structure)
    hits, correct = covered >= overlap * sizes, inside >= overlap * areas
    found, right = int(np.count_nonzero(hits)), int(np.count_nonzero(correct))
    return LesionScores(len(sizes), found, len(areas), right, sizes, hits, areas, correct)


def _components(
    mask: NDArray[np.bool_], other: NDArray[np.bool_], structure: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Returns the size of each component of a mask, and how many of its pixels are in the other."""
    labels, count = ndimage.label(mask, structure)
    flat = labels.ravel()
    sizes = np.bincount(flat, minlength=count + 1)[1:]
    return sizes.astype(np.int64), np.bincount(flat[other.ravel()], minlength=count + 1)[1:].astype(np.int64)


def aupro(
    maps: NDArray[np.float32],
    truth: NDArray[np.bool_],
    scored: NDArray[np.bool_],
    *,
    limit: float,
    full: bool = True,
) -> float:
    """Returns the normalised area under the per-region-overlap curve up to a false positive rate.

    Bergmann et al. 2021 (MVTec AD), section 5.1.4: the mean share of each lesion that is predicted, against the share
    of normal pixels that is predicted, over all thresholds, by trapezoids, divided by the limit.

    Args:
        maps: Anomaly map of one case, (n, h, w).
        truth: Lesion pixels, (n, h, w).
        scored: Pixels that count, (n, h, w).
        limit: Largest false positive rate, in (0, 1].
        full: Connectivity, as in ``lesion_scores``.

    Returns:
        A number in [0, 1]; NaN without lesion or without normal pixels.
    """
    structure = ndimage.generate_binary_structure(3, 3 if full else 1)
    labels, count = ndimage.label(truth & scored, structure)
    region = labels[scored]
    normal = region == 0
    if not count or not normal.any():
        return math.nan
    values = maps[scored]
    order = np.argsort(-values, kind="stable")
    last = np.append(np.flatnonzero(np.diff(values[order])), len(values) - 1)  # where a tie ends
    share = np.append(0.0, 1 / (count * np.bincount(region, minlength=count + 1)[1:]))
    pro = np.append(0.0, np.cumsum(share[region[order]])[last])
    fpr = np.append(0.0, np.cumsum(normal[order])[last] / np.count_nonzero(normal))
    end = int(np.searchsorted(fpr, limit))  # the first point at or beyond the limit; the curve may jump there
    slope = (pro[end] - pro[end - 1]) / (fpr[end] - fpr[end - 1])
    height = pro[end - 1] + slope * (limit - fpr[end - 1])
    return float(np.trapezoid(np.append(pro[:end], height), np.append(fpr[:end], limit)) / limit)


def equivalent_diameters(
    sizes: NDArray[np.int64], spacing: tuple[float, float, float], depth: int
) -> NDArray[np.float64]:
    """Returns the diameters in mm of discs (depth 1) or balls with the area or volume of the lesions.

    Args:
        sizes: Pixels of each lesion.
        spacing: Millimetres (slice, row, column).
        depth: Number of slices of the case.
    """
    if depth == 1:
        return 2 * np.sqrt(sizes * spacing[1] * spacing[2] / math.pi)
    return np.cbrt(6 * sizes * math.prod(spacing) / math.pi)


def detection_by_size(
    lesions: tuple[Sequence[float], Sequence[bool]],
    components: tuple[Sequence[float], Sequence[bool]],
    edges: Sequence[float],
) -> list[dict[str, float | int | None]]:
    """Returns, for each size bin, its edges in mm, sensitivity, precision and F1; None if the bin is empty.

    Lesions and components are binned by their own sizes, so the F1 of a bin is the harmonic mean
    of two shares over different objects of similar size.

    Args:
        lesions: Equivalent diameter of each lesion in mm, and whether it was found.
        components: Equivalent diameter of each predicted component in mm, and whether it is right.
        edges: Lower edges, ascending, starting at 0; the last bin is open.
    """
    found, right = _binned(*lesions, edges), _binned(*components, edges)
    table: list[dict[str, float | int | None]] = []
    for i, low in enumerate(edges):
        sensitivity, precision = _share(found[i]), _share(right[i])
        f1 = None
        if sensitivity is not None and precision is not None:
            f1 = 2 * sensitivity * precision / (sensitivity + precision) if sensitivity + precision else 0.0
        table.append(
            {
                "from_mm": float(low),
                "to_mm": float(edges[i + 1]) if i + 1 < len(edges) else None,
                "lesions": len(found[i]),
                "sensitivity": sensitivity,
                "components": len(right[i]),
                "precision": precision,
                "f1": f1,
            }
        )
    return table


def _binned(diameters: Sequence[float], flags: Sequence[bool], edges: Sequence[float]) -> list[NDArray[np.bool_]]:
    bins = np.digitize(np.asarray(diameters, np.float64), np.asarray(edges, np.float64)) - 1
    return [np.asarray(flags, np.bool_)[bins == i] for i in range(len(edges))]


def _share(flags: NDArray[np.bool_]) -> float | None:
    return float(flags.mean()) if flags.size else None
