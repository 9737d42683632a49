"""Lesion-wise detection: connected components of truth and prediction."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage


@dataclass(frozen=True)
class LesionScores:
    """Detection of the lesions of one case.

    Attributes:
        lesions: Number of lesions.
        found: Lesions of which a large enough share is predicted.
        components: Predicted components.
        right: Predicted components of which a large enough share is lesion.
        sizes: Pixels of each lesion, (lesions,).
        hits: Whether each lesion is found, (lesions,).
    """

    lesions: int
    found: int
    components: int
    right: int
    sizes: NDArray[np.int64]
    hits: NDArray[np.bool_]

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
    ``overlap`` of its pixels are lesion, so one blob over everything is not rewarded.

    Args:
        prediction: Predicted mask.
        truth: True mask.
        overlap: Share in (0, 1].
        full: Whether diagonal neighbours connect (8 in a frame, 26 in a volume) or faces alone (4, 6).
    """
    structure = ndimage.generate_binary_structure(3, 3 if full else 1)
    sizes, covered = _components(truth, prediction, structure)
    areas, correct = _components(prediction, truth, structure)
    hits = covered >= overlap * sizes
    right = int(np.count_nonzero(correct >= overlap * areas))
    return LesionScores(len(sizes), int(np.count_nonzero(hits)), len(areas), right, sizes, hits)


def _components(
    mask: NDArray[np.bool_], other: NDArray[np.bool_], structure: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Returns the size of each component of a mask, and how many of its pixels are in the other."""
    labels, count = ndimage.label(mask, structure)
    flat = labels.ravel()
    sizes = np.bincount(flat, minlength=count + 1)[1:]
    return sizes.astype(np.int64), np.bincount(flat[other.ravel()], minlength=count + 1)[1:].astype(np.int64)
