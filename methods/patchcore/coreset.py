"""Greedy coreset selection (Roth et al. 2022, algorithm 1)."""

from __future__ import annotations

import torch
from torch import Tensor


def project(points: Tensor, length: int | None, generator: torch.Generator) -> Tensor:
    """Returns random projections of points that approximately preserve distances (Johnson and Lindenstrauss).

    Args:
        points: (n, d).
        length: Length of the projections; None or at least d return the points unchanged.
        generator: CPU generator; the same state gives the same projection.
    """
    if length is None or length >= points.shape[1]:
        return points
    matrix = torch.randn(points.shape[1], length, generator=generator) / length**0.5
    return points @ matrix.to(points)


def greedy_k_centre(points: Tensor, count: int, first: int) -> Tensor:
    """Selects points one by one, each the farthest from those selected so far.

    The largest distance of a point to its nearest chosen one is at most twice the smallest possible for ``count``.

    Args:
        points: (n, d).
        count: Number of points to select, 1 to n.
        first: Index of the first one.

    Returns:
        Distinct indices in order of choice, int64 of shape (count,).
    """
    chosen = torch.empty(count, dtype=torch.int64, device=points.device)
    squares = points.square().sum(dim=1)
    distance = torch.full_like(squares, float("inf"))
    current = torch.tensor(first, device=points.device)
    for i in range(count):
        chosen[i] = current
        # |p - q|^2 = |p|^2 - 2 p q + |q|^2 reads the points once per round, which is memory-bound.
        distance = torch.minimum(distance, squares - 2 * (points @ points[current]) + squares[current])
        distance[current] = float("-inf")  # never twice, even if all points are equal
        current = distance.argmax()
    return chosen
