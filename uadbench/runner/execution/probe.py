"""Which number format and layout a job computes fastest in: timed on its own networks, once per machine."""

from __future__ import annotations

import contextlib
import math
import os
import platform
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import platformdirs
import torch

from uadbench.core.config import MethodConfig
from uadbench.core.errors import JobFailed, UserError
from uadbench.core.files import atomic_text
from uadbench.core.job import Precision
from uadbench.core.method import Method
from uadbench.core.numerics import CHOICES, PLAIN, Numerics
from uadbench.core.record import stable_hash
from uadbench.core.roles import Supervision
from uadbench.core.types import ImageSpec
from uadbench.testing.fakes import InMemoryBatches, LocalFitContext
from uadbench.testing.images import synthetic_images

GAIN = 1.2
"""How many times faster than the plain way another one must be to be taken."""
SECONDS, SHARE = 2.0, 0.01
"""A probe may take so many seconds, or this share of the job's own time if that is longer."""
LEAST = 2  # images in a batch: batch normalisation needs two
STEPS = 2  # of each phase: the first warms up, the second is timed

Build = Callable[[MethodConfig, ImageSpec], Method]


def pick_numerics(
    wanted: Precision,
    build: Build,
    config: MethodConfig,
    spec: ImageSpec,
    device: torch.device,
    *,
    cache: Path | None = None,
    probe: Callable[[], Numerics] | None = None,
) -> Numerics:
    """Returns how to compute: what ``wanted`` says, or for ``auto`` what a short probe of the method finds fastest.

    Another layout or number format than the plain one is taken only where it is 1.2 times as fast for the whole job. A
    precision that was asked for is not probed: ``fp32`` is channels first as published codes have it, ``bf16`` is
    channels last.

    Args:
        wanted: What the job asks for.
        build: Makes the untrained method.
        config: Its settings.
        spec: Shape of the images.
        device: Where it will run.
        cache: Folder of what was found before; by default the user's cache.
        probe: How it is found; by default the method is timed in this process.
    """
    if wanted != "auto":
        return Numerics("bf16", "channels_last") if wanted == "bf16" else PLAIN
    folder = platformdirs.user_cache_path("uadbench") / "numerics" if cache is None else cache
    shape = (spec.channels, spec.height, spec.width)
    key = stable_hash({"machine": _machine(device), "config": config.model_dump(mode="json"), "shape": shape})
    file = folder / f"{key}.txt"
    with contextlib.suppress(OSError, ValueError):
        return Numerics.parse(file.read_text())
    found = fastest(build, config, spec, device) if probe is None else probe()
    if is_shared():  # good enough for this run, no knowledge for the next
        return found
    with contextlib.suppress(OSError, UserError):  # without a cache the next run probes again
        folder.mkdir(parents=True, exist_ok=True)
        atomic_text(file, str(found))
    return found


def fastest(build: Build, config: MethodConfig, spec: ImageSpec, device: torch.device) -> Numerics:
    """Times training steps in each way and returns the fastest by the rule of ``pick_numerics``.

    A step passes forwards and backwards through the networks that predict later, so it decides for both. Where steps
    are slow, a smaller batch stands for the whole one.
    """
    if build(config, spec).supervision == Supervision.NONE:
        return PLAIN
    small = _resized(config, LEAST)
    began = _clock(device)
    whole = _fit_seconds(build, small, spec, device, PLAIN)  # warms up, and says what a bigger probe costs
    if not math.isfinite(whole) or whole == 0:  # it diverged, or has no steps
        return PLAIN
    image = whole / max(1, small.images_seen)  # seconds of training on one image
    ways = [way for way in CHOICES if not way.bf16 or bf16_pays(device)]
    allowed = max(SECONDS, SHARE * whole) - (_clock(device) - began)
    batch = max(LEAST, min(getattr(config, "batch_size", 1), int(allowed / (len(ways) * STEPS * image))))
    resized = _resized(config, batch)
    seconds = {way: _fit_seconds(build, resized, spec, device, way) for way in ways}
    best32 = _best(seconds, [way for way in ways if not way.bf16], PLAIN)
    return _best(seconds, ways, best32)


def _best(seconds: dict[Numerics, float], ways: list[Numerics], plain: Numerics) -> Numerics:
    """Returns the fastest way if it is clearly faster than ``plain``."""
    first = min(ways, key=lambda way: seconds[way])
    return first if seconds[plain] >= GAIN * seconds[first] else plain


def _fit_seconds(build: Build, config: MethodConfig, spec: ImageSpec, device: torch.device, way: Numerics) -> float:
    """Returns how long the whole fit would take by the time of a few steps of each phase."""
    count = max(4, getattr(config, "batch_size", 1))
    healthy = InMemoryBatches(synthetic_images(count, spec, part="train"), spec)
    lesions = InMemoryBatches(synthetic_images(count, spec, part="labelled", lesions=True), spec)
    context = _FewSteps(device, way)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        method = build(config, spec).to(device)
        labelled = lesions if method.supervision == Supervision.MASKS else None
        try:
            method.fit(healthy, healthy, context, labelled)
        except JobFailed:
            return float("inf")  # diverged in this number format
    return context.seconds


class _FewSteps(LocalFitContext):
    """Makes the first steps of each phase and says how long all of them would take.

    Attributes:
        seconds: Seconds of all steps of all phases, by the last one made.
    """

    def __init__(self, device: torch.device, way: Numerics) -> None:
        super().__init__(device=device, numerics=way, every=10**9)
        self.seconds = 0.0

    def steps(self, phase: str, start: int, total: int) -> Iterator[int]:
        """Yields the first steps and times each until the next is asked for."""
        times: list[float] = []
        for step in range(min(total, STEPS)):
            began = _clock(self.device)
            yield step
            _wait(self.device)
            times.append(_clock(self.device) - began)
        self.seconds += times[-1] * total if times else 0.0


def _resized(config: MethodConfig, batch: int) -> MethodConfig:
    """Returns the config with another batch size; it is not shown to anybody, so limits on it do not matter."""
    return config.model_copy(update={"batch_size": batch}) if "batch_size" in type(config).model_fields else config


def bf16_pays(device: torch.device) -> bool:
    """Whether a 3 x 3 convolution is faster in bfloat16: where it is emulated it is hundreds of times slower."""
    return _convolution(device, torch.float32) > _convolution(device, torch.bfloat16)


def _convolution(device: torch.device, dtype: torch.dtype) -> float:
    layout = torch.channels_last
    image = torch.zeros(4, 64, 32, 32, device=device, dtype=dtype).contiguous(memory_format=layout)
    kernel = torch.zeros(64, 64, 3, 3, device=device, dtype=dtype).contiguous(memory_format=layout)
    times: list[float] = []
    for _ in range(5):
        began = _clock(device)
        torch.conv2d(image, kernel, padding=1)
        _wait(device)
        times.append(_clock(device) - began)
    return min(times)


def is_shared() -> bool:
    """Whether more work is waiting than there are cores, so that times say little."""
    return hasattr(os, "getloadavg") and os.getloadavg()[0] > (os.cpu_count() or 1) + 0.5


def _clock(device: torch.device) -> float:
    """Returns seconds: on a CPU those that the process was given, which other work on the machine does not lengthen."""
    return time.perf_counter() if device.type == "cuda" else time.process_time() / torch.get_num_threads()


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _machine(device: torch.device) -> dict[str, Any]:
    """Returns what the times depend on."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor()
    capability = torch.backends.cpu.get_cpu_capability()
    return {"device": name, "capability": capability, "threads": torch.get_num_threads(), "torch": torch.__version__}
