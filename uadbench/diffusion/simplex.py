"""Multi-octave simplex noise as AnoDDPM uses it (Wyatt et al. 2022): slices z = t of 3-D OpenSimplex noise.

OpenSimplex (K. Spencer, 2014) sums, over the lattice points p = q + (q1 + q2 + q3)/3 (q integer) within sqrt(2) of x,

    (2 - |x - p|^2)^4  g(q) . (x - p) / 103,

with g one of 24 gradients picked by hashing q with a permutation of 0..255.

The fast implementation: a plane z = const cuts the lattice periodically, with periods (1, -1) and (3, 3). Square
blocks of the plane are therefore of six kinds at most, and a kind's weights (its pixels by the points in its reach) are
the same at any position and for any seed. So a field is, for each kind, one product of the gradients around its
blocks with a weight matrix: exact, batched, free of branches, and on the device of the images.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor

from uadbench.core.errors import UserError
from uadbench.core.types import ImageSpec

KINDS = 6  # kinds of unit squares in a plane, and the period of the lattice along z
_SIGNS = ((-1, 1, 1), (1, 1, 1), (-1, -1, 1), (1, -1, 1), (-1, 1, -1), (1, 1, -1), (-1, -1, -1), (1, -1, -1))
_SHAPES = ((11, 4, 4), (4, 11, 4), (4, 4, 11))
GRADIENTS = tuple((float(s[0] * v[0]), float(s[1] * v[1]), float(s[2] * v[2])) for s in _SIGNS for v in _SHAPES)


@dataclass(frozen=True)
class Simplex:
    """Sum of octaves of OpenSimplex noise at z = t; standard deviation about 0.51 for the published values.

    Attributes:
        frequency: Pixels a unit of the coarsest octave, a power of two; each octave halves it.
        octaves: Number of octaves.
        persistence: Amplitude of an octave relative to the coarser one.
    """

    frequency: float = 64.0
    octaves: int = 6
    persistence: float = 0.8

    def __post_init__(self) -> None:
        if self.frequency <= 0 or not math.log2(self.frequency).is_integer():
            raise UserError(f"Simplex frequency {self.frequency} is not a power of two.", "Take for example 64 or 32.")

    @classmethod
    def scaled(cls, spec: ImageSpec, frequency: float = 64.0, octaves: int = 6, persistence: float = 0.8) -> Simplex:
        """Returns the noise with a frequency stated on a 256 grid, scaled to the image (nearest power of two)."""
        scaled = frequency * min(spec.height, spec.width) / 256
        return cls(2.0 ** round(math.log2(scaled)), octaves, persistence)

    def __call__(self, like: Tensor, generators: Sequence[Generator], t: Tensor, body: Tensor | None = None) -> Tensor:
        """See ``uadbench.diffusion.noises.Noise``; each channel has a permutation of its own."""
        channels, height, width = like.shape[1:]
        tables = torch.stack(
            [torch.randperm(256, generator=one, device="cpu") for one in generators for _ in range(channels)]
        ).to(like.device)
        steps = [step for step in t.tolist() for _ in range(channels)]
        field = torch.empty(len(steps), height, width, device=like.device)
        for step in sorted(set(steps)):
            rows = [row for row, other in enumerate(steps) if other == step]
            total = torch.zeros(len(rows), height, width, device=like.device)
            for octave in range(self.octaves):
                frequency = self.frequency / 2**octave
                total.add_(plane(tables[rows], height, width, frequency, step), alpha=self.persistence**octave)
            field[rows] = total
        return field.view(len(generators), channels, height, width)


def plane(tables: Tensor, height: int, width: int, frequency: float, z: float) -> Tensor:
    """Evaluates one octave at (column, row, z) / frequency.

    Args:
        tables: Permutations of 0..255, int64 of shape (n, 256).
        height: Rows.
        width: Columns.
        frequency: Pixels a unit, a power of two.
        z: Third coordinate in pixels.

    Returns:
        float32 of shape (n, height, width).
    """
    device, count = tables.device, len(tables)
    units, side = _block(frequency)
    stride = max(units, int(1 / frequency))  # units from block to block
    down, across = -(-height // side), -(-width // side)
    below = math.floor(z / frequency / KINDS)
    row, column = (axis.ravel() for axis in np.indices((down, across)) * stride)
    high, kinds = np.divmod(row + column, KINDS)
    order = np.argsort(kinds, kind="stable")  # blocks of a kind side by side
    row, high, kinds = row[order], high[order], kinds[order] // units
    # block (column, row) = (kind, 0) + low (1, -1) + high (3, 3); z lies ``below`` periods of the lattice further up
    low = 3 * high - row
    shift = np.stack([low + 2 * high - below, 2 * high - low - below, 5 * below - high], axis=-1)
    points, weights = _kernel(frequency, z / frequency % KINDS, device)
    lattice = torch.from_numpy(shift).to(device).unsqueeze(1) + points[torch.from_numpy(kinds).to(device)]
    i, j, k = (lattice.view(-1, 3) & 255).unbind(-1)
    hashed = tables.gather(1, (tables[:, i] + j) & 255)
    compass = torch.tensor(GRADIENTS, dtype=torch.float32, device=device)[tables % len(GRADIENTS)].view(-1, 3)
    first = torch.arange(count, device=device).view(-1, 1) * 256
    gradients = compass[first + ((hashed + k) & 255)].view(count, len(order), -1)
    groups = np.bincount(kinds, minlength=len(weights)).tolist()
    parts = [part @ weights[kind] for kind, part in enumerate(gradients.split(groups, dim=1))]
    blocks = torch.cat(parts, dim=1)[:, torch.from_numpy(np.argsort(order)).to(device)]
    field = blocks.view(count, down, across, side, side).transpose(2, 3)
    return field.reshape(count, down * side, across * side)[:, :height, :width]


def _block(frequency: float) -> tuple[int, int]:
    """Returns the side of a block in lattice units and in pixels: large enough to share points, small enough to fit."""
    if frequency < 1:
        return 1, 1
    units = next((units for units in (1, 2, 3) if units * frequency >= 12), KINDS)
    return units, units * int(frequency)


@lru_cache(maxsize=128)  # some tens of MB at 256 x 256
def _kernel(frequency: float, z: float, device: torch.device) -> tuple[Tensor, Tensor]:
    """Returns, for each kind of block, its m points (kinds, m, 3) and their weights (kinds, 3 m, pixels of a block).

    m is the largest number of points in reach of a kind; the others get their next nearest too, whose weights are 0.
    """
    units, side = _block(frequency)
    lattice, place = _lattice()
    layers = np.abs(place[:, 2] - z) < 2**0.5
    lattice, place = lattice[layers], place[layers]
    starts = np.arange(0, KINDS, units)
    gap_x = np.maximum(np.maximum(starts[:, None] - place[:, 0], place[:, 0] - starts[:, None] - units), 0)
    gap_y = np.maximum(np.maximum(-place[:, 1], place[:, 1] - units), 0)
    distance = gap_x**2 + gap_y**2 + (place[:, 2] - z) ** 2
    most = int((distance < 2).sum(1).max())
    nearest = np.argpartition(distance, most - 1, axis=1)[:, :most]
    origin = np.stack([starts, np.zeros_like(starts), np.full_like(starts, z, dtype=np.float64)], axis=-1)
    dx, dy, dz = torch.from_numpy(origin[:, None] - place[nearest]).float().to(device).unbind(-1)
    offsets = torch.arange(side, device=device) / frequency
    dx, dy, dz = (dx[..., None] + offsets)[..., None, :], (dy[..., None] + offsets)[..., None], dz[..., None, None]
    fall = ((2 - dz**2 - dy**2) - dx**2).clamp_min_(0).square_().square_().div_(103)
    weights = torch.empty(len(starts), most, 3, side, side, device=device)
    for axis, distance_along in enumerate((dx, dy, dz)):
        torch.mul(fall, distance_along, out=weights[:, :, axis])
    return torch.from_numpy(lattice[nearest]).to(device), weights.view(len(starts), 3 * most, side * side)


@lru_cache(maxsize=1)
def _lattice() -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Returns the lattice points within sqrt(2) of the box [0, 11] x [0, 6] x [0, 6], which holds all blocks."""
    axis = np.arange(-16, 17)
    lattice = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3).astype(np.int64)
    place = lattice + lattice.sum(1, keepdims=True) / 3
    gap = np.maximum(np.maximum(-place, place - np.array([11, 6, 6])), 0)
    near = (gap**2).sum(1) < 2
    return lattice[near], place[near]
