"""Scales intensities to [-1, 1] such that lesions hardly affect the scale; used by datasets and ``predict``."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from uadbench.core.errors import DataError

WINDOW = 2.0
"""Half width, in robust standard deviations, of the intensities that count for the location."""


def robust_location(values: NDArray[Any]) -> float:
    """Returns the median of the values within two robust standard deviations of it.

    The fixed point of "the median of the values within 2 x 1.4826 MAD". Unlike a percentile of all values it does not
    depend on how extreme a lesion is, and hardly on its presence, because outliers fall outside the window.

    Args:
        values: Intensities inside the body, any shape.
    """
    flat = np.sort(values, axis=None)
    location = float(np.median(flat))
    for _ in range(50):
        spread = 1.4826 * float(np.median(np.abs(flat - location)))
        first, last = np.searchsorted(flat, [location - WINDOW * spread, location + WINDOW * spread])
        moved = float(np.median(flat[first : max(last, first + 1)]))
        if moved == location:
            break
        location = moved
    return location


def mr_scale(volume: NDArray[Any], body: NDArray[np.bool_], top: float = 2.0) -> NDArray[np.float32]:
    """Maps MR magnitudes to [-1, 1]: 0 (no signal) to -1, ``top`` times the body's robust location to 1.

    MR magnitudes have a physical zero but no unit, so one number per volume fixes the scale. A lesion of up to 5 % of
    the body shifts it by at most 1 % (tests/data/test_normalise.py).

    Args:
        volume: Magnitudes.
        body: True inside the body, same shape.
        top: Multiple of the location that is mapped to 1; brighter values saturate.

    Raises:
        DataError: If the body holds no signal.
    """
    location = robust_location(volume[body]) if body.any() else 0.0
    if location <= 0:
        raise DataError("the image holds no signal inside the body", "Check that it is a brain-extracted magnitude.")
    return np.clip(volume * np.float32(2 / (top * location)) - 1, -1, 1).astype(np.float32)


def grey_scale(grey: NDArray[Any], top: float = 255.0) -> NDArray[np.float32]:
    """Maps grey levels 0..``top`` to [-1, 1]: one fixed scale for all ultrasound frames, without per-frame rescaling.

    Args:
        grey: Grey levels.
        top: The level that maps to 1.
    """
    return 2 * (np.asarray(grey, np.float32) / np.float32(top)) - 1


def as_stored(image: NDArray[Any]) -> NDArray[np.float32]:
    """Returns intensities rounded to half precision, as in a store and therefore in training."""
    return image.astype(np.float16).astype(np.float32)


def window(volume: NDArray[Any], low: float, high: float) -> NDArray[np.float32]:
    """Maps [low, high] to [-1, 1] and clips: the window of CT, whose Hounsfield units are absolute."""
    return np.clip((volume - low) * np.float32(2 / (high - low)) - 1, -1, 1).astype(np.float32)
