"""Profile and utilisation: python -m benchmarks.profile [--small] [--json FILE]

Each work as published and as here: seconds, arithmetic, its share of the measured matrix rate, and a torch.profiler
breakdown by kind. The limit of the ratio is the published time over the unavoidable time: the arithmetic at the full
matrix rate, and drawing the random numbers. ``--small`` takes networks and sizes of preset ``quick``.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Generator, Tensor
from torch.autograd.profiler_util import FunctionEvent
from torch.profiler import ProfilerActivity, profile, record_function

from benchmarks.pairs import Pair, anoddpm_steps, synomaly_inference, synomaly_noise, synomaly_training
from benchmarks.support.flops import operations
from benchmarks.support.ratios import machine
from uadbench.diffusion.noises import Noise
from uadbench.runner.execution.allocator import keep_memory

WORK, NOISE, RANDOM = "the whole work", "noise", "random numbers"
# The first kind with a word that stands in an operation's name; all other operations are elementwise.
KINDS: dict[str, tuple[str, ...]] = {
    RANDOM: ("rand", "normal_", "uniform_"),
    NOISE: (NOISE,),
    "optimiser": ("Optimizer",),
    "convolution": ("conv",),
    "normalisation": ("group_norm", "batch_norm"),
    "attention": ("scaled_dot_product",),
    "linear": ("addmm", "::mm", "::bmm", "linear"),
    "copies": ("copy", "cat", "clone", "contiguous", "fill_", "zero", "empty", "index", "stack", "upsample"),
    "elementwise": ("",),
}
OUTSIDE = "Python, numpy"
# These name everything that happens inside them.
ENCLOSING = (NOISE, "Optimizer")


class Labelled:
    """A noise whose operations count as noise, whatever they are, except for drawing random numbers.

    Args:
        noise: The noise.
    """

    def __init__(self, noise: Noise) -> None:
        self.noise = noise

    def __call__(self, like: Tensor, generators: Sequence[Generator], t: Tensor, body: Tensor | None = None) -> Tensor:
        """See ``Noise``."""
        with record_function(NOISE):
            return self.noise(like, generators, t, body)


def label_noise(pair: Pair) -> Pair:
    """Returns the pair with the product's noises labelled."""
    for name in ("noise", "inference_noise"):
        if pair.model is not None and hasattr(pair.model, name):
            setattr(pair.model, name, Labelled(getattr(pair.model, name)))
    return pair


def kind_of(event: FunctionEvent) -> str:
    """Returns the kind of an operation, that of an enclosing label if there is one."""
    if event.name == WORK:
        return OUTSIDE
    name, parent = event.name, event.cpu_parent
    if any(word in name for word in KINDS[RANDOM]):
        return RANDOM
    while parent is not None:
        if parent.name.startswith(ENCLOSING):
            name = parent.name
        parent = parent.cpu_parent
    return next(kind for kind, words in KINDS.items() if any(word in name for word in words))


def breakdown(call: Callable[[], object]) -> dict[str, float]:
    """Returns the share of the time that each kind of operation takes by itself, without what it calls."""
    with profile(activities=[ProfilerActivity.CPU]) as recorded, record_function(WORK):
        call()
    spent = Counter[str]()
    for event in recorded.events() or []:
        spent[kind_of(event)] += event.self_cpu_time_total
    return {kind: spent[kind] / spent.total() for kind in (*KINDS, OUTSIDE)}


def seconds(call: Callable[[], object]) -> float:
    """Returns how long a call takes."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def matrix_rate(dtype: torch.dtype, side: int) -> float:
    """Returns the best of ten matrix products, FLOP per second."""
    a, b = (torch.randn(side, side).to(dtype) for _ in range(2))
    return 2 * side**3 / min(seconds(lambda: a @ b) for _ in range(10))


def rows(pair: Pair, rate: float, rounds: int) -> list[dict[str, Any]]:
    """Returns a row of the table for each of the two ways; alternating."""
    ways = {"as published": pair.published, "here": pair.product}
    flops = {way: operations(call) for way, call in ways.items()}  # the warm-up, too
    times: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(rounds):
        for way, call in ways.items():
            times[way].append(seconds(call))
    taken = {way: statistics.median(each) for way, each in times.items()}
    shares = {way: breakdown(call) for way, call in ways.items()}
    least = flops["here"] / rate + shares["here"][RANDOM] * taken["here"]
    return [
        {
            "work": pair.work,
            "way": way,
            "seconds": taken[way],
            "gflop": flops[way] / 1e9,
            "share of matrix rate": flops[way] / taken[way] / rate,
            "ratio": taken["as published"] / taken[way],
            "limit of the ratio": taken["as published"] / least,
            **shares[way],
        }
        for way in ways
    ]


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    keep_memory()  # as runs do
    # bfloat16 is emulated, many times slower, where the processor has no instruction for it
    fp32, bf16 = matrix_rate(torch.float32, 2048), matrix_rate(torch.bfloat16, 512)
    amx = "yes" if "amx_bf16" in machine() else "no"
    print(f"{machine()}\nmatrix product: fp32 {fp32 / 1e9:.0f}, bf16 {bf16 / 1e9:.0f} GFLOP/s; AMX: {amx}")
    makers: list[Callable[[], Pair]] = [lambda: synomaly_inference("quick", 16), lambda: synomaly_training("quick", 16)]
    makers += [lambda: synomaly_noise(128), lambda: synomaly_noise(256)]
    if not options.small:
        makers += [lambda: synomaly_inference("paper", 1), lambda: synomaly_training("paper", 2), anoddpm_steps]
    table: list[dict[str, Any]] = []
    for make in makers:
        found = rows(label_noise(make()), fp32, options.rounds)
        table += found
        print(f"\n{found[0]['work']}")
        for name in list(found[0])[2:]:
            percent = name in (*KINDS, OUTSIDE, "share of matrix rate")
            cells = (f"{row[name]:.1%}" if percent else f"{row[name]:.3g}" for row in found)
            print(f"  {name:<22}" + "".join(f"{cell:>14}" for cell in cells))
    if options.json:
        options.json.write_text(json.dumps({"machine": machine(), "fp32": fp32, "bf16": bf16, "rows": table}, indent=1))


if __name__ == "__main__":
    main()
