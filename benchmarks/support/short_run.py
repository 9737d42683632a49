"""A run of a few steps, timed or counted: what a training costs without training."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator

import torch

from benchmarks.support.flops import Flops
from uadbench.core.numerics import PLAIN, Numerics
from uadbench.testing.fakes import LocalFitContext

TIMED = 5  # steps of each phase


class ShortRun(LocalFitContext):
    """Yields a warm-up step and a few timed ones of each phase, and says how long all of them would take.

    Attributes:
        times: Seconds of the timed steps of the last phase.
        spent: Seconds of all steps that were made.
        whole: Seconds that all steps of all phases would take.
    """

    def __init__(self, *, device: torch.device | str = "cpu", numerics: Numerics = PLAIN) -> None:
        super().__init__(device=device, numerics=numerics, every=10**9)
        self.times: list[float] = []
        self.spent = 0.0
        self.whole = 0.0

    def steps(self, phase: str, start: int, total: int) -> Iterator[int]:
        """Yields the first steps and times each until the next is asked for."""
        times: list[float] = []
        for step in range(min(total, TIMED + 1)):
            began = time.perf_counter()
            yield step
            if self.device.type == "cuda":
                torch.cuda.synchronize(self.device)
            times.append(time.perf_counter() - began)
        self.times = times[1:] or times
        self.spent += sum(times)
        self.whole += statistics.median(self.times) * total


class CountedRun(LocalFitContext):
    """Yields one step of each phase, and says how many operations all of them would take.

    Attributes:
        made: Floating-point operations of the steps that were made.
        whole: Those of all steps of all phases.
    """

    def __init__(self) -> None:
        super().__init__(every=10**9)
        self.made = 0.0
        self.whole = 0.0

    def steps(self, phase: str, start: int, total: int) -> Iterator[int]:
        """Yields the first step and counts until the next is asked for."""
        with Flops() as counter:
            yield 0
        self.made += counter.total
        self.whole += counter.total * total
