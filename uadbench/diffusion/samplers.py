"""From a noised image back to a clean one: in one step, by DDIM, or by ancestral sampling."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Generator, Tensor

from uadbench.diffusion.schedules import Schedule

Epsilon = Callable[[Tensor, Tensor], Tensor]


def one_step(epsilon: Epsilon, schedule: Schedule, x_t: Tensor, t: int) -> Tensor:
    """Returns the one-step estimate of x0, clamped to [-1, 1]."""
    steps = _full(x_t, t)
    return schedule.restore(x_t, epsilon(x_t, steps), steps)


def ddim(epsilon: Epsilon, schedule: Schedule, x_t: Tensor, t: int, steps: int) -> Tensor:
    """Returns x0 by deterministic DDIM (Song et al. 2021, eta = 0) over ``steps`` network calls evenly spaced from t.

    With one step it equals ``one_step``.
    """
    marks = sorted({round(value) for value in torch.linspace(0, t, steps + 1, device="cpu").tolist()[1:]}, reverse=True)
    for now, after in zip(marks, [*marks[1:], -1], strict=True):
        when = _full(x_t, now)
        x0 = schedule.restore(x_t, epsilon(x_t, when), when)
        if after < 0:
            return x0
        # the noise that leads from the clamped x0 to x_t
        implied = (x_t - schedule.signal(when) * x0) / schedule.noise(when)
        x_t = schedule.diffuse(x0, implied, _full(x_t, after))
    return x_t


def ancestral(
    epsilon: Epsilon,
    schedule: Schedule,
    x_t: Tensor,
    t: int,
    draw: Callable[[Tensor, int], Tensor],
    stop: int = 0,
) -> Tensor:
    """Returns a sample of x_{stop-1}, the clean image for stop = 0, by t - stop + 1 steps of Ho et al.'s algorithm 2.

    Args:
        epsilon: Noise predictor.
        schedule: Schedule.
        x_t: Noised images at step t.
        t: First step.
        draw: Draws noise of the process for (like, step).
        stop: Last step, included.
    """
    for now in range(t, stop - 1, -1):
        when = _full(x_t, now)
        mean, log_variance = schedule.posterior(schedule.restore(x_t, epsilon(x_t, when), when), x_t, when)
        x_t = mean if now == 0 else mean + torch.exp(0.5 * log_variance) * draw(x_t, now)
    return x_t


def in_chunks(run: Callable[[Tensor], Tensor], images: Tensor, size: int) -> Tensor:
    """Applies ``run`` to chunks of exactly ``size`` images, the last filled up with copies of its first.

    One shape for every call keeps an image's bits independent of how many companions are left.
    """
    parts: list[Tensor] = []
    for start in range(0, len(images), size):
        chunk = images[start : start + size]
        filled = torch.cat([chunk, chunk[:1].expand(size - len(chunk), *chunk.shape[1:])])
        parts.append(run(filled)[: len(chunk)])
    return torch.cat(parts)


def one_each(generators: Sequence[Generator], rows: Sequence[int]) -> list[Generator]:
    """Returns the generators of some rows."""
    return [generators[row] for row in rows]


def _full(like: Tensor, t: int) -> Tensor:
    return torch.full((len(like),), t, device=like.device, dtype=torch.long)
