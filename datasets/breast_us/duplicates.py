"""Images that show the same: grouped, so that they count as one patient and never lie in two roles."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from uadbench.data.storage.batches import resize_image

SIDE = 64
ALIKE = 0.95
"""Correlation on a common grid from which on two images are taken for one: below the 0.99 that refuses a store."""


def group_alike(images: Sequence[NDArray[np.float32]]) -> list[int]:
    """Returns the number of each image's group: images are in one group if a chain of like images joins them.

    Args:
        images: Grey levels, each (h, w), of any size.
    """
    if not images:
        return []
    flat = np.stack([resize_image(image[None], (SIDE, SIDE)).numpy().ravel() for image in images]).astype(np.float64)
    flat -= flat.mean(axis=1, keepdims=True)
    flat /= np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-12)
    _, labels = connected_components(csr_array(flat @ flat.T > ALIKE), directed=False)
    return [int(label) for label in labels]
