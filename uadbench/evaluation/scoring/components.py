"""Small connected components of a prediction, which some protocols and the post-processing ladder drop."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from uadbench.evaluation.cases import CaseMaps
from uadbench.evaluation.protocol.protocol import GRID


def without_small(
    maps: NDArray[np.float32],
    body: NDArray[np.bool_],
    threshold: float,
    smallest: float,
    *,
    neighbours: Literal["volume", "plane"] = "volume",
) -> NDArray[np.float32]:
    """Returns the map with components above the threshold of fewer than ``smallest`` pixels lowered to it.

    Args:
        maps: Map of a case, (n, h, w).
        body: Where predictions are possible, (n, h, w).
        threshold: Components are those of the prediction ``body & (map > threshold)``.
        smallest: Components of fewer pixels are dropped.
        neighbours: ``volume``: all 26; ``plane``: the 4 that share an edge within a slice.
    """
    structure = np.ones((3, 3, 3), np.bool_)
    if neighbours == "plane":
        structure = ndimage.generate_binary_structure(3, 1)
        structure[0] = structure[2] = False
    labels, count = ndimage.label(body & (maps > threshold), structure)
    small = np.bincount(labels.ravel(), minlength=count + 1) < smallest
    small[0] = False
    return np.where(small[labels], np.float32(threshold), maps).astype(np.float32)


def final_maps(case: CaseMaps, threshold: float, smallest: int) -> NDArray[np.float32]:
    """Returns the map for which ``map > threshold`` is a protocol's final prediction.

    Args:
        case: The case.
        threshold: Threshold of the prediction.
        smallest: 4-connected components of a slice with fewer pixels on a 128 x 128 grid are dropped; the limit scales
            with
            the area of the slice. 0 drops none.
    """
    if not smallest:
        return case.maps
    height, width = case.maps.shape[1:]
    return without_small(case.maps, case.body, threshold, smallest * height * width / GRID**2, neighbours="plane")
