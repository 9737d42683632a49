"""Cropping of frames: a fixed part if the scanner draws on the image, then without its black margins.

The rule uses only the image, never a mask, and is the same for frames with and without lesions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uadbench.core.errors import DataError

BLACK = 16 / 255
"""A row or column at the edge is black if 99 % of its pixels are darker."""
QUANTILE = 0.99
LEAST_SIDE = 32
COLOURED = 24 / 255
"""Channels that differ by more than this are colour; JPEG artefacts of grey images are smaller."""
COLOURED_SHARE = 1e-3
"""Share of coloured pixels above which a frame counts as coloured (Doppler, or coloured marks)."""


@dataclass(frozen=True)
class Part:
    """Rows to keep, as shares of the frame's height."""

    top: float
    bottom: float


# BUS-UCLM: the logo ends at 2.3 % of the height and the body marker begins at 86 % of it, on all frames.
UCLM_PART = Part(0.03, 0.86)
WHOLE = Part(0.0, 1.0)


@dataclass(frozen=True)
class Box:
    """A rectangle in pixels: rows ``top`` to ``bottom`` and columns ``left`` to ``right``, ends excluded."""

    top: int
    bottom: int
    left: int
    right: int

    def cut(self, image: NDArray[Any]) -> NDArray[Any]:
        """Returns the rectangle of an image (h, w) or (h, w, c)."""
        return image[self.top : self.bottom, self.left : self.right]


def find_box(grey: NDArray[np.float32], part: Part, name: str) -> Box:
    """Returns the rectangle to keep.

    Args:
        grey: Grey levels in [0, 1], (h, w).
        part: Rows without graphics.
        name: Name for errors.

    Raises:
        DataError: If fewer than 32 pixels per side are left.
    """
    height = grey.shape[0]
    top, bottom = round(part.top * height), round(part.bottom * height)
    first, last = _lit(grey[top:bottom], axis=1)
    left, right = _lit(grey[top + first : top + last], axis=0) if last > first else (0, 0)
    box = Box(top + first, top + last, left, right)
    if min(box.bottom - box.top, box.right - box.left) < LEAST_SIDE:
        raise DataError(
            f"{name}: the image inside its black margins is smaller than {LEAST_SIDE} pixels.", "Remove it."
        )
    return box


def is_coloured(pixels: NDArray[np.float32]) -> bool:
    """Whether a frame (h, w, 3) in [0, 1] contains colour."""
    return float((np.ptp(pixels, axis=2) > COLOURED).mean()) > COLOURED_SHARE


def _lit(grey: NDArray[np.float32], axis: int) -> tuple[int, int]:
    """Returns the first row (axis 1) or column (axis 0) that is not black, and the one after the last."""
    if grey.size == 0:
        return 0, 0
    lit = np.flatnonzero(np.quantile(grey, QUANTILE, axis=axis) >= BLACK)
    return (int(lit[0]), int(lit[-1]) + 1) if len(lit) else (0, 0)
