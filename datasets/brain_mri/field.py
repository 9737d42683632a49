"""Smooth random fields in space, sampled at any points."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, map_coordinates

Array = NDArray[np.floating]
CORNER_MM = np.array([-110.0, -110.0, -50.0])[:, None]
EXTENT_MM = (220.0, 220.0, 140.0)
"""The part of the head that contains the slices."""


@dataclass(frozen=True)
class Field:
    """A Gaussian random field of mean 0 and SD 1 on a lattice.

    Attributes:
        lattice: Values, (n, n, n).
        step: Millimetres between lattice points.
    """

    lattice: Array
    step: float

    def at(self, points: Array) -> Array:
        """Returns the values at points in mm, (3, n) to (n,); the nearest value outside the lattice."""
        return map_coordinates(self.lattice, (points - CORNER_MM) / self.step, order=1, mode="nearest")

    def slope(self) -> Field:
        """Returns the magnitude of the gradient, per mm."""
        parts = np.gradient(self.lattice, self.step)
        return Field(np.sqrt(sum(part**2 for part in parts)), self.step)


def draw_field(rng: np.random.Generator, length_mm: float, fineness: int = 6) -> Field:
    """Draws a field whose zero-crossings are about 0.9 ``length_mm`` apart.

    Noise behind a Gaussian of SD s crosses zero every sqrt(2) pi s on average (Rice 1945); here s = length / 5.

    Args:
        rng: Random generator.
        length_mm: Length of its structures.
        fineness: Lattice points per length, with linear interpolation.
    """
    step = length_mm / fineness
    count = [int(np.ceil(extent / step)) + 2 for extent in EXTENT_MM]
    values = gaussian_filter(rng.standard_normal(count), fineness / 5, mode="wrap")
    return Field(values / values.std(), step)
