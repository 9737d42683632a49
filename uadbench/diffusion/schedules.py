"""Variance schedules and the closed-form parts of the diffusion process (Ho et al. 2020; Nichol & Dhariwal 2021)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from uadbench.core.errors import UserError
from uadbench.diffusion.config import ScheduleName


@dataclass(frozen=True)
class Schedule:
    """Cumulative products of a variance schedule; t is a 0-based index.

    Attributes:
        betas: float64 of shape (T,).
        abar: Cumulative product of 1 - beta, float64 of shape (T,).
    """

    betas: NDArray[np.float64]
    abar: NDArray[np.float64]

    @classmethod
    def make(cls, name: ScheduleName, length: int = 1000) -> Schedule:
        """Returns a schedule of ``length`` steps.

        "cosine" is eq. 17 of Nichol & Dhariwal with betas capped at 0.999; "linear" goes from 1e-4 to 0.02 for 1000
        steps (Ho et al.) and has the same total noise for other lengths.
        """
        if name == "cosine":
            edges = np.array([math.cos((i / length + 0.008) / 1.008 * math.pi / 2) ** 2 for i in range(length + 1)])
            betas = np.minimum(1 - edges[1:] / edges[:-1], 0.999)
        else:
            betas = np.minimum(np.linspace(1e-4, 0.02, length) * (1000 / length), 0.999)
        return cls(betas, np.cumprod(1 - betas, dtype=np.float64))

    def __len__(self) -> int:
        return len(self.abar)

    def check(self, t: int) -> None:
        """Checks that t is a step of the schedule.

        Raises:
            UserError: If it is not.
        """
        if not 0 <= t < len(self):
            raise UserError(
                f"t={t} is not a step of a schedule of {len(self)}.", f"Set t between 0 and {len(self) - 1}."
            )

    def signal(self, t: Tensor) -> Tensor:
        """Returns sqrt(abar_t) as float32 of shape (b, 1, 1, 1)."""
        return self._pick(np.sqrt(self.abar), t)

    def noise(self, t: Tensor) -> Tensor:
        """Returns sqrt(1 - abar_t) as float32 of shape (b, 1, 1, 1)."""
        return self._pick(np.sqrt(1 - self.abar), t)

    def diffuse(self, x0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """Returns x_t = sqrt(abar_t) x0 + sqrt(1 - abar_t) noise."""
        return self.signal(t) * x0 + self.noise(t) * noise

    def restore(self, x_t: Tensor, epsilon: Tensor, t: Tensor) -> Tensor:
        """Returns the one-step estimate of x0 from predicted noise, clamped to [-1, 1]."""
        return ((x_t - self.noise(t) * epsilon) / self.signal(t)).clamp(-1, 1)

    def posterior(self, x0: Tensor, x_t: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """Returns mean and log-variance of q(x_{t-1} | x_t, x0) (Ho et al. eq. 7); the log is clipped at t = 0."""
        before = np.append(1.0, self.abar[:-1])
        variance = self.betas * (1 - before) / (1 - self.abar)
        first = np.sqrt(before) * self.betas / (1 - self.abar)
        second = np.sqrt(1 - self.betas) * (1 - before) / (1 - self.abar)
        mean = self._pick(first, t) * x0 + self._pick(second, t) * x_t
        return mean, self._pick(np.log(np.append(variance[1], variance[1:])), t)

    def model_log_variance(self, t: Tensor) -> Tensor:
        """Returns the fixed-large log-variance of p_theta: beta_t, the posterior's own at t = 0."""
        variance = self.betas[1] * (1 - self.abar[0]) / (1 - self.abar[1])
        return self._pick(np.log(np.append(variance, self.betas[1:])), t)

    def _pick(self, values: NDArray[np.float64], t: Tensor) -> Tensor:
        table = torch.as_tensor(values, dtype=torch.float32, device=t.device)
        return table[t].view(-1, 1, 1, 1)
