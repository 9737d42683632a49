"""Cropping a frame to its vessel: to a square around the bounding box, or to the paper's rectangle (Bi et al. 2025)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from uadbench.core.errors import DataError

CENTRE = (0.46, 0.54)
"""Range of the vessel's centre, as shares of the square."""
LEAST_SIDE = 8


@dataclass(frozen=True)
class Window:
    """A square that may extend beyond the frame.

    Attributes:
        top: First row.
        left: First column.
        side: Pixels.
    """

    top: int
    left: int
    side: int

    @classmethod
    def round_vessel(
        cls, vessel: NDArray[np.bool_], factor: tuple[float, float], rng: np.random.Generator, name: str
    ) -> Self:
        """Draws a square around a vessel.

        Args:
            vessel: True inside, (h, w), not empty.
            factor: Minimum and maximum side, as multiples of the longer side of the bounding box.
            rng: Draws the side and the position of the vessel's centre.
            name: Mask or frame, for errors.

        Raises:
            DataError: If the vessel is too small.
        """
        rows, columns = np.nonzero(vessel)
        side = round(max(np.ptp(rows), np.ptp(columns)) * rng.uniform(*factor))
        if side < LEAST_SIDE:
            raise DataError(
                f"{name}: the vessel is too small, its window has {side} pixels.", "Redraw or remove the mask."
            )
        centre = np.array([rows.min() + rows.max(), columns.min() + columns.max()]) / 2
        top, left = np.round(centre - side * rng.uniform(*CENTRE, 2)).astype(int)
        return cls(int(top), int(left), side)

    def cut(self, image: NDArray[Any]) -> NDArray[Any]:
        """Returns the square of an image (h, w); outside the image it is 0."""
        padded = np.pad(image, self.side)
        top, left = self.top + self.side, self.left + self.side
        return padded[top : top + self.side, left : left + self.side]


@dataclass(frozen=True)
class Rectangle:
    """The crop of the paper: the bounding box times one factor, shifted, and clamped at the frame's edge.

    Attributes:
        top: First row.
        left: First column.
        bottom: The row after the last.
        right: The column after the last.
    """

    top: int
    left: int
    bottom: int
    right: int

    @classmethod
    def around_vessel(
        cls, vessel: NDArray[np.bool_], factor: tuple[float, float], rng: np.random.Generator, name: str
    ) -> Self:
        """Draws a rectangle around a vessel.

        Args:
            vessel: True inside, (h, w), not empty.
            factor: Minimum and maximum size, as multiples of the bounding box.
            rng: Draws the factor, then the share of the width left of the middle, then that of the height above it.
            name: Mask or frame, for errors.

        Raises:
            DataError: If the vessel is too small.
        """
        rows, columns = np.nonzero(vessel)
        top, left = int(rows.min()), int(columns.min())
        height, width = int(np.ptp(rows)) + 1, int(np.ptp(columns)) + 1
        scale = rng.uniform(*factor)
        across, down = rng.uniform(*CENTRE), rng.uniform(*CENTRE)
        middle_y, middle_x = top + height // 2, left + width // 2
        found = cls(
            max(0, middle_y - int(height * scale * down)),
            max(0, middle_x - int(width * scale * across)),
            min(vessel.shape[0], middle_y + int(height * scale * (1 - down))),
            min(vessel.shape[1], middle_x + int(width * scale * (1 - across))),
        )
        if min(found.bottom - found.top, found.right - found.left) < LEAST_SIDE:
            raise DataError(f"{name}: the vessel is too small.", "Redraw or remove the mask.")
        return found

    def cut(self, image: NDArray[Any]) -> NDArray[Any]:
        """Returns the rectangle of an image (h, w)."""
        return image[self.top : self.bottom, self.left : self.right]
