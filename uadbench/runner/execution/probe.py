"""The fastest number format and layout of a job, timed on its own networks once per machine."""

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
"""Speed-up over the default at which another choice is selected."""
TIE = 1.15
"""Within this factor, bf16 is taken channels last: prediction, which is not timed, is up to 1.6 times as fast in it."""
SECONDS, SHARE = 2.0, 0.01
"""After its warm-up a probe may take this many seconds, or this share of the job's time if longer."""
LEAST = 2  # images in a batch: batch normalisation needs two
STEPS = 2  # steps of each phase: the first is a warm-up, the second is timed

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
    """Returns the requested numerics, or for ``auto`` the fastest in a short probe of the method.

    A layout or number format other than the default is selected only if it is 1.2 times as fast for the whole job. A
    requested precision is not probed: ``fp32`` is channels first, as in published code, ``bf16`` is
    channels last.

    Args:
        wanted: Precision requested by the job.
        build: Makes the untrained method.
        config: Its settings.
        spec: Shape of the images.
        device: Device of the run.
        cache: Folder of earlier results; by default the user's cache.
        probe: Probe function; by default the method is timed in this process.
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
    if is_shared():  # good enough for this run, but not stored for the next
        return found
    with contextlib.suppress(OSError, UserError):  # without a cache the next run probes again
        folder.mkdir(parents=True, exist_ok=True)
        atomic_text(file, str(found))
    return found


def fastest(build: Build, config: MethodConfig, spec: ImageSpec, device: torch.device) -> Numerics:
    """Times training steps in each way and returns the fastest by the rule of ``pick_numerics``.

    A training step runs forward and backward through the networks used for prediction, so it decides for both, but for
    near ties. If steps are slow, a smaller batch is timed instead.
    """
    if build(config, spec).supervision == Supervision.NONE:
        return PLAIN
    small = _resized(config, LEAST)
    whole = _fit_seconds(build, small, spec, device, PLAIN)  # warm-up, which shows the cost of a larger probe
    if not math.isfinite(whole) or whole == 0:  # it diverged, or has no steps
        return PLAIN
    image = whole / max(1, small.images_seen)  # seconds of training on one image
    ways = [way for way in CHOICES if not way.bf16 or bf16_pays(device)]
    # The cold start does not count: it would leave so little that two images are timed, on which bf16 gains less.
    allowed = max(SECONDS, SHARE * whole)
    batch = max(LEAST, min(getattr(config, "batch_size", 1), int(allowed / (len(ways) * STEPS * image))))
    resized = _resized(config, batch)
    seconds = {way: _fit_seconds(build, resized, spec, device, way) for way in ways}
    best32 = _best(seconds, [way for way in ways if not way.bf16], PLAIN)
    return _best(seconds, ways, best32)


def _best(seconds: dict[Numerics, float], ways: list[Numerics], plain: Numerics) -> Numerics:
    """Returns the fastest way if it is clearly faster than ``plain``."""
    first = min(ways, key=lambda way: seconds[way])
    last = Numerics.of(bf16=True, channels_last=True)
    if first.bf16 and last in ways and seconds[last] <= TIE * seconds[first]:
        first = last
    return first if seconds[plain] >= GAIN * seconds[first] else plain


def _fit_seconds(build: Build, config: MethodConfig, spec: ImageSpec, device: torch.device, way: Numerics) -> float:
    """Returns the time of the whole fit, extrapolated from a few steps of each phase."""
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
    """Runs the first steps of each phase and extrapolates the time of all steps.

    Attributes:
        seconds: Extrapolated seconds of all steps of all phases.
    """

    def __init__(self, device: torch.device, way: Numerics) -> None:
        super().__init__(device=device, numerics=way, every=10**9)
        self.seconds = 0.0

    def steps(self, phase: str, start: int, total: int) -> Iterator[int]:
        """Yields the first steps and times each until the next is requested."""
        times: list[float] = []
        for step in range(min(total, STEPS)):
            began = _clock(self.device)
            yield step
            _wait(self.device)
            times.append(_clock(self.device) - began)
        self.seconds += times[-1] * total if times else 0.0


def _resized(config: MethodConfig, batch: int) -> MethodConfig:
    """Returns the config with another batch size, for internal use and therefore without validation."""
    return config.model_copy(update={"batch_size": batch}) if "batch_size" in type(config).model_fields else config


def bf16_pays(device: torch.device) -> bool:
    """Whether a 3 x 3 convolution is faster in bfloat16; if emulated, it is hundreds of times slower."""
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
    """Whether more work is waiting than there are cores, which makes times unreliable."""
    return hasattr(os, "getloadavg") and os.getloadavg()[0] > (os.cpu_count() or 1) + 0.5


def _clock(device: torch.device) -> float:
    """Returns seconds; on a CPU the processor time, which other load on the machine hardly affects."""
    return time.perf_counter() if device.type == "cuda" else time.process_time() / torch.get_num_threads()


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _machine(device: torch.device) -> dict[str, Any]:
    """Returns a key of everything that the times depend on."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor()
    capability = torch.backends.cpu.get_cpu_capability()
    return {"device": name, "capability": capability, "threads": torch.get_num_threads(), "torch": torch.__version__}
