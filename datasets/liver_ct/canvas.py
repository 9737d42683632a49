"""Drawing soft-edged shapes into planes of Hounsfield units: partial volume comes from the edges.

Coordinates in mm: x to the right of the picture (the patient's left), y to the back, z up; (0, 0, 0) is the middle.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]
Vector = NDArray[np.float64]
Point = tuple[float, float, float]


class Canvas:
    """Planes of one patient.

    Args:
        size: Side of a plane in pixels.
        pixel_mm: Side of a pixel.
        heights: z of each plane in mm, length n.
        warp_mm: Amplitude of the smooth warp that deforms ellipsoidal organs.
        rng: Random generator of the warp.

    Attributes:
        hu: The drawn values, (n, h, w).
        x, y, z: Warped coordinates in mm, broadcast to (n, h, w).
        liver: Share of liver in a pixel, (n, h, w); reduced by shapes drawn over it.
    """

    def __init__(
        self, size: int, pixel_mm: float, heights: NDArray[np.float64], warp_mm: float, rng: np.random.Generator
    ) -> None:
        self.pixel = pixel_mm
        axis = (np.arange(size) - (size - 1) / 2) * pixel_mm
        self._axes = heights, axis
        z, y, x = np.meshgrid(*self._axes, axis, indexing="ij")
        self.flat: tuple[Array, Array] = (x, y)
        self.x, self.y, self.z = (part + warp_mm * self.waves((90.0, 220.0), rng) for part in (x, y, z))
        self.hu: Array = np.full(x.shape, -1000.0)
        self.liver: Array = np.zeros(x.shape)

    def waves(self, lengths: tuple[float, float], rng: np.random.Generator) -> Array:
        """Returns a smooth random field of unit standard deviation: six plane waves with wavelengths in mm."""
        direction = rng.standard_normal((6, 3))
        direction /= np.linalg.norm(direction, axis=1, keepdims=True)
        kx, ky, kz = (direction * 2 * np.pi / rng.uniform(*lengths, (6, 1))).T
        heights, axis = self._axes
        # sin(A + B) = sin A cos B + cos A sin B, with A along x and B along y and z: one matrix product.
        along = np.multiply.outer(kx, axis) + rng.uniform(0, 2 * np.pi, (6, 1))
        across = (np.multiply.outer(heights, kz)[:, None] + np.multiply.outer(axis, ky)).reshape(-1, 6)
        left = np.hstack([np.cos(across), np.sin(across)])
        right = np.vstack([np.sin(along), np.cos(along)])
        return (left @ right).reshape(len(heights), len(axis), len(axis)) / np.sqrt(3)

    def cover(self, distance: NDArray[np.floating], edge_mm: float = 0.0) -> Array:
        """Returns the share of each pixel inside a shape from its signed distance in mm (negative inside)."""
        return np.clip(0.5 - distance / max(self.pixel, edge_mm), 0, 1)

    def distance(self, centre: Point, radii: Point, turn: float = 0.0) -> Array:
        """Returns about the signed distance in mm to an ellipsoid turned in the plane by ``turn`` radians."""
        dx, dy = self.x - centre[0], self.y - centre[1]
        c, s = np.cos(turn), np.sin(turn)
        along, across = c * dx + s * dy, c * dy - s * dx
        away = (along / radii[0]) ** 2 + (across / radii[1]) ** 2
        away += ((self.z - centre[2]) / radii[2]) ** 2
        return (np.sqrt(away) - 1) * min(radii)

    def paint(self, share: Array, value: float | Array) -> None:
        """Mixes a tissue in; liver under it is covered."""
        self.hu += share * (value - self.hu)
        self.liver *= 1 - share

    def ellipsoid(self, centre: Point, radii: Point, value: float | Array, turn: float = 0.0) -> Array:
        """Draws an ellipsoid and returns its share."""
        share = self.cover(self.distance(centre, radii, turn))
        self.paint(share, value)
        return share

    def tube(self, start: Vector, end: Vector, radius: float, at: Array, taper: float = 1.0) -> Array:
        """Returns the share of a round tube at the points ``at``, (3, n); its radius ends at ``taper`` times itself."""
        axis = end - start
        offset = [at[k] - start[k] for k in range(3)]
        along = sum(offset[k] * axis[k] for k in range(3)) / max(float((axis**2).sum()), 1e-6)
        along = np.clip(along, 0, 1)
        away = np.sqrt(sum((offset[k] - along * axis[k]) ** 2 for k in range(3)))
        return self.cover(away - radius * (1 + (taper - 1) * along))
