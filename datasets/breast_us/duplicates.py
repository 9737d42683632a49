"""Groups copies of images, so that they count as one patient with one role."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from uadbench.data.storage.batches import resize_image

SIDE = 64
ALIKE = 0.95
"""Correlation on a common grid above which two images count as one, below the 0.99 at which a store is refused."""


def group_alike(images: Sequence[NDArray[np.float32]]) -> list[int]:
    """Returns the number of each image's group: images are in one group if a chain of similar images connects them.

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
