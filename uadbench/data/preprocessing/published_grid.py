"""What Synomaly's published recipes share: an image resized to 128 x 128, then scaled by its own extremes.

Bit-equal on every processor: torch's float32 resizing differs in its last bits between them, so it is done in
float64 here, and every result is rounded (Bi et al. 2025 specify neither; a step is far below a grey level).
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from uadbench.core.rounding import above, rounded

PAPER_SIZE = (128, 128)
"""The grid of Synomaly's images, (rows, columns)."""

STEPS = 4096
"""Steps of a unit in which intensities are stored: float16 rounds none in [-1, 1] by more than one step."""


def published_image(plane: NDArray[np.floating]) -> NDArray[np.float32]:
    """Resizes (h, w) to the published grid, then maps its minimum and maximum to -1 and 1.

    In this order, because resizing reduces the extremes: in the reverse order contrast would be lower, and the
    published thresholds of the map would not transfer. A lesion shifts this scale, which is the paper's choice.

    Returns:
        (128, 128) in [-1, 1], whole multiples of 1 / 4096; -1 everywhere if the plane is constant.
    """
    small = _resized(plane)
    low, high = small.min(), small.max()
    # Resizing leaves differences in the last bits of a constant plane.
    if high - low <= 1e-9 * max(1.0, abs(low), abs(high)):
        return np.full(PAPER_SIZE, -1, np.float32)
    return (rounded("published image", STEPS * (2 * (small - low) / (high - low) - 1)) / STEPS).astype(np.float32)


def published_mask(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Resizes a mask (h, w) to the published grid: true where at least half of a pixel's area is."""
    return above("published mask", _resized(mask), 0.5 - 1e-4)


def _resized(plane: NDArray[np.generic]) -> NDArray[np.float64]:
    whole = torch.from_numpy(np.ascontiguousarray(plane, dtype=np.float64))[None, None]
    if whole.shape[-2:] != PAPER_SIZE:
        whole = functional.interpolate(whole, size=PAPER_SIZE, mode="bilinear", antialias=True, align_corners=False)
    return whole[0, 0].numpy()
