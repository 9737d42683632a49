"""Where the body is: the pixels that count."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage


def extracted_body(volume: NDArray[Any]) -> NDArray[np.bool_]:
    """Returns the body of a brain-extracted volume: its non-zero voxels, largest part, holes filled slice by slice.

    Args:
        volume: Intensities with a background of exactly 0, shape (x, y, z).
    """
    return fill_slices(largest_part(volume != 0))


def largest_part(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Returns the largest face-connected component (all False if there is none)."""
    labels, count = ndimage.label(mask)
    if count <= 1:
        return mask
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    return labels == int(sizes.argmax())


def fill_slices(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Fills the holes of every axial slice."""
    return np.stack([ndimage.binary_fill_holes(mask[..., z]) for z in range(mask.shape[-1])], -1)
