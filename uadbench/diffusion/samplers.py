"""From a noised image back to a clean one: in one step, by DDIM, or by ancestral sampling."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from uadbench.diffusion.schedules import Schedule

Epsilon = Callable[[Tensor, Tensor], Tensor]
Draw = Callable[[Tensor, int], Tensor]


def one_step(epsilon: Epsilon, schedule: Schedule, x_t: Tensor, t: int) -> Tensor:
    """Returns the one-step estimate of x0, clamped to [-1, 1]."""
    steps = _full(x_t, t)
    return schedule.restore(x_t, epsilon(x_t, steps), steps)


def marks(t: int, steps: int) -> list[int]:
    """Returns at most ``steps`` steps from t down, evenly spaced, one per network call."""
    return sorted({round(t * part / steps) for part in range(1, steps + 1)}, reverse=True)


def ddim(epsilon: Epsilon, schedule: Schedule, x_t: Tensor, t: int, steps: int) -> Tensor:
    """Returns x0 by deterministic DDIM (Song et al. 2021, eta = 0) over ``steps`` network calls evenly spaced from t.

    With one step it equals ``one_step``.
    """
    visited = marks(t, steps)
    for now, after in zip(visited, [*visited[1:], -1], strict=True):
        when = _full(x_t, now)
        x0 = schedule.restore(x_t, epsilon(x_t, when), when)
        if after < 0:
            return x0
        # the noise that leads from the clamped x0 to x_t
        implied = (x_t - schedule.signal(when) * x0) / schedule.noise(when)
        x_t = schedule.diffuse(x0, implied, _full(x_t, after))
    return x_t


def ancestral(epsilon: Epsilon, schedule: Schedule, x_t: Tensor, t: int, draw: Draw, steps: int = 0) -> Tensor:
    """Returns a sample of x0 by Ho et al.'s algorithm 2 from step t.

    Args:
        epsilon: Noise predictor.
        schedule: Schedule.
        x_t: Noised images at step t.
        t: First step.
        draw: Draws noise of the process for (like, step).
        steps: Network calls, evenly spaced; 0 for all t + 1 steps.
    """
    visited = marks(t, steps) if steps else list(range(t, -1, -1))
    for now, after in zip(visited, [*visited[1:], -1], strict=True):
        x_t = ancestral_step(epsilon, schedule, x_t, now, after, draw)
    return x_t


def ancestral_step(epsilon: Epsilon, schedule: Schedule, x_t: Tensor, now: int, after: int, draw: Draw) -> Tensor:
    """Samples x_after given x_now from the posterior with x0 estimated and clamped; after = -1 gives that x0's mean."""
    when = _full(x_t, now)
    x0 = schedule.restore(x_t, epsilon(x_t, when), when)
    if after < 0:
        return x0
    here, there = float(schedule.abar[now]), float(schedule.abar[after])
    beta = 1 - here / there  # of the leap from ``after`` to ``now``; beta_now for neighbours
    mean = (there**0.5 * beta * x0 + (1 - beta) ** 0.5 * (1 - there) * x_t) / (1 - here)
    return mean + (beta * (1 - there) / (1 - here)) ** 0.5 * draw(x_t, now)


def filled(images: Tensor, size: int) -> Tensor:
    """Returns (n, ...) as (size, ...), padded with copies of the first, n <= size.

    One shape for every call makes an image's bits independent of the number of other images.
    """
    return torch.cat([images, images[:1].expand(size - len(images), *images.shape[1:])])


def _full(like: Tensor, t: int) -> Tensor:
    return torch.full((len(like),), t, device=like.device, dtype=torch.long)
