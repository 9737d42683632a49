"""Brain-extracted MR volumes: which voxels are brain, which slices count, and their intensities.

One rule for the phantom, prepared volumes and new volumes, so that the test input of a method cannot differ from
its training input.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from uadbench.core.errors import DataError
from uadbench.data.preprocessing.body import extracted_body
from uadbench.data.preprocessing.normalise import mr_scale

RINGING = 0.05
"""Share of the 99th percentile by which resampling may push magnitudes below 0."""

MIN_AREA_MM2 = 2000.0
"""Slices with less brain are omitted."""


def brain_of(volume: NDArray[Any], mask: NDArray[np.bool_] | None = None) -> NDArray[np.bool_]:
    """Returns the brain of a volume.

    Args:
        volume: Intensities, (x, y, z).
        mask: Brain mask, same shape; None: where the volume is not 0.

    Raises:
        DataError: If the brain fills the volume.
    """
    brain = extracted_body(volume) if mask is None else mask
    if brain.mean() > 0.9:
        raise DataError(
            "the volume has no empty background", "Extract the brain first, or give a brain mask (predict: --roi)."
        )
    return brain


def brain_slices(brain: NDArray[np.bool_], spacing: tuple[float, float, float]) -> NDArray[np.bool_]:
    """Returns which axial slices show enough brain, (z,).

    Args:
        brain: True inside, (x, y, z).
        spacing: Millimetres per voxel.
    """
    return brain.sum((0, 1)) * spacing[0] * spacing[1] >= MIN_AREA_MM2


def brain_scale(volume: NDArray[Any], brain: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Returns a volume of any order of axes on the scale [-1, 1], -1 outside the brain.

    Raises:
        DataError: If values are clearly negative, or the brain holds no signal.
    """
    low = float(volume.min())
    if low < 0 and -low > RINGING * float(np.quantile(volume, 0.99)):
        raise DataError(
            f"the volume holds values down to {low:g}, and magnitudes are not negative: perhaps z-scored",
            "Give magnitudes.",
        )
    image = mr_scale(volume, brain)
    image[~brain] = -1
    return image
