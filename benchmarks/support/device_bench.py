"""Times calls on a device and collects rows."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor

from benchmarks.support.ratios import machine


class Bench:
    """Times calls on a device and collects rows.

    Args:
        device: Where.
        rounds: Timed calls after a warm-up; the median counts.
    """

    rehearsed = False

    def __init__(self, device: torch.device, rounds: int) -> None:
        self.device = device
        self.rounds = rounds
        self.rows: list[dict[str, Any]] = []
        # bfloat16 is emulated, some hundred times slower, where the processor does not have it
        self.bf16 = device.type == "cuda" or any(kind in machine() for kind in ("amx_bf16", "avx512_bf16"))
        self.dtype = torch.bfloat16 if self.bf16 else torch.float32

    @contextmanager
    def on_device(self) -> Generator[None]:
        """Whatever is measured runs in this block."""
        with nullcontext():
            yield

    @contextmanager
    def on_processor(self) -> Generator[None]:
        """What runs on the processor by design, as the published loop around the network, runs in this block."""
        with nullcontext():
            yield

    def module(self, make: Callable[[], Any]) -> Any:
        """Makes a module on the device."""
        return make().to(self.device)

    def sent(self, values: Tensor) -> Tensor:
        """Returns values of the processor on the device."""
        return values.to(self.device)

    def on_host(self, values: Tensor) -> Tensor:
        """Returns values of the device on the processor."""
        return values.cpu()

    def seconds(self, call: Callable[[], object]) -> float:
        """Returns the median seconds of a call, device work included."""
        call()
        self.wait()
        times: list[float] = []
        for _ in range(self.rounds):
            start = time.perf_counter()
            call()
            self.wait()
            times.append(time.perf_counter() - start)
        return statistics.median(times)

    def wait(self) -> None:
        """Waits for the device."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def peak_gib(self) -> float:
        """Returns the peak device memory since the last call, GiB; 0 on a CPU."""
        if self.device.type != "cuda":
            return 0.0
        peak = torch.cuda.max_memory_allocated(self.device) / 2**30
        torch.cuda.reset_peak_memory_stats(self.device)
        return peak

    def add(self, work: str, **values: float | str) -> None:
        """Notes and prints a row."""
        self.rows.append({"work": work, **values})
        shown = "  ".join(
            f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}" for key, value in values.items()
        )
        print(f"{work:<44} {shown}", flush=True)
