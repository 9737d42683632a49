"""One point of benchmarks/growth.py in a separate process: python -m benchmarks.growth_point '{"axis": ...}'

Peak memory belongs to a process, and the allocator keeps what it once had: only a fresh process tells what one size
needs.
"""

from __future__ import annotations

import json
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.support.short_run import TIMED, ShortRun
from uadbench.core.types import ImageSpec
from uadbench.methods.synomaly.config import SynomalyConfig
from uadbench.methods.synomaly.method import Synomaly
from uadbench.runner.execution.allocator import keep_memory
from uadbench.runner.execution.probe import pick_numerics
from uadbench.testing.fakes import InMemoryBatches, image_generators
from uadbench.testing.images import synthetic_images

PART = 1 << 20  # pixels read at once
Axis = Literal["batch", "size", "width", "stages", "pixels", "jobs"]
Work = Literal["prediction", "training", "metrics", "suite"]


@dataclass(frozen=True)
class Point:
    """What is measured. Sizes that an axis does not vary keep these values.

    Attributes:
        axis: What grows.
        work: What is done.
        value: The size on the axis.
        preset: Whose network; ``quick`` or ``paper``.
        device: Where.
        batch: Images per call.
        size: Side of the image in pixels.
        stages: Stages of prediction, all of them run.
    """

    axis: Axis
    work: Work
    value: int
    preset: str = "quick"
    device: str = "cpu"
    batch: int = 4
    size: int = 64
    stages: int = 1

    def sized(self, name: Axis) -> int:
        """Returns a size, the axis's own value where it is the one that grows."""
        return self.value if self.axis == name else int(getattr(self, name))


class Memory:
    """Peak memory of this process, or of its CUDA device, from here on.

    Linux keeps the peak of the resident memory and lets a process reset it; ``ru_maxrss`` would not do, since a child
    starts with the peak of its parent.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
            self.before = torch.cuda.memory_allocated(device) / 2**20
        else:
            Path("/proc/self/clear_refs").write_text("5")
            self.before = _resident("VmRSS")

    def peak(self) -> float:
        """Returns the peak in MiB."""
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.device) / 2**20
        return _resident("VmHWM")


def _resident(name: str) -> float:
    found = re.search(rf"{name}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) / 1024


def median_seconds(call: Callable[[], object], device: torch.device) -> float:
    """Returns the median of five calls after a warm-up, device work included."""
    times: list[float] = []
    for _ in range(TIMED + 1):
        start = time.perf_counter()
        call()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:])


def config_of(point: Point) -> SynomalyConfig:
    """Returns the preset's config with the sizes of the point."""
    batch, size = point.sized("batch"), point.sized("size")
    # every stage is run and is one call, so that the number of calls is known
    values = {"image_size": size, "batch_size": batch, "predict_batch": batch}
    values |= {"stages": point.sized("stages"), "adaptive": False, "direction": 1}
    config = SynomalyConfig.resolve(point.preset, overrides=values)
    if point.axis != "width":
        return config
    if config.network == "guided":
        return config.model_copy(update={"base": point.value})
    return config.model_copy(update={"widths": tuple(w * point.value // config.widths[0] for w in config.widths)})


def network(point: Point) -> float:
    """Returns images per second of prediction or training."""
    device, config = torch.device(point.device), config_of(point)
    spec = ImageSpec(1, config.image_size, config.image_size, polarity=1)
    numerics = pick_numerics("auto", Synomaly.build, config, spec, device)
    model, images = Synomaly.build(config, spec), synthetic_images(config.batch_size, spec)
    if point.work == "training":
        run = ShortRun(device=device, numerics=numerics)
        batches = InMemoryBatches(images, spec)
        model.fit(batches, batches, run)
        return config.batch_size / statistics.median(run.times)
    model.to(device).denoiser.set_numerics(numerics)
    images = images.images.to(device)
    with torch.inference_mode():
        return config.batch_size / median_seconds(lambda: model.predict(images, image_generators(images)), device)


def pixel_file(folder: Path, pixels: int) -> Callable[[], Iterator[tuple[NDArray[np.float32], NDArray[np.bool_]]]]:
    """Writes scores with 1 % lesion pixels; returns a reader of parts, as maps are read from a run's folder."""
    rng = np.random.default_rng(0)
    with (folder / "values").open("wb") as values, (folder / "truth").open("wb") as truth:
        for start in range(0, pixels, PART):
            lesion = rng.random(min(PART, pixels - start)) < 0.01
            (np.abs(rng.normal(0, 0.1, len(lesion))) + 0.3 * lesion).astype(np.float32).tofile(values)
            lesion.tofile(truth)

    def read() -> Iterator[tuple[NDArray[np.float32], NDArray[np.bool_]]]:
        # read and not mapped: mapped pages would count as memory of the process
        with (folder / "values").open("rb") as values, (folder / "truth").open("rb") as truth:
            while len(part := np.fromfile(values, np.float32, PART)):
                yield part, np.fromfile(truth, np.bool_, PART)

    return read


def metrics(pixels: int, folder: Path) -> tuple[float, Memory]:
    """Returns pixels per second of the pooled curves, and the memory from before them."""
    from uadbench.evaluation.metrics.streaming import pixel_curves

    read, device = pixel_file(folder, pixels), torch.device("cpu")
    memory = Memory(device)
    return pixels / median_seconds(lambda: pixel_curves(read), device), memory


def suite(jobs: int, folder: Path, device: str) -> tuple[float, Memory]:
    """Returns jobs per second of one worker, and the memory from before them."""
    from benchmarks.support.small_suite import make_run, task_of
    from tests.support.stores import write_store
    from uadbench.runner.suites import worker

    task = task_of(make_run(folder, write_store(folder / "store", frames=1), jobs, steps=20), folder, device)
    memory, start = Memory(torch.device(device)), time.perf_counter()
    assert worker.work(task) == jobs
    return jobs / (time.perf_counter() - start), memory


def measure(point: Point) -> dict[str, object]:
    """Returns the point with its rate in units per second and its memory in MiB."""
    keep_memory()  # as runs do
    with tempfile.TemporaryDirectory() as folder:
        if point.work == "metrics":
            rate, memory = metrics(point.value, Path(folder))
        elif point.work == "suite":
            rate, memory = suite(point.value, Path(folder), point.device)
        else:
            memory = Memory(torch.device(point.device))
            rate = network(point)
        peak = memory.peak()
    return {**asdict(point), "per_second": rate, "peak_mib": peak, "added_mib": peak - memory.before}


def main() -> None:
    """Prints the measured point as JSON."""
    print(json.dumps(measure(Point(**json.loads(sys.argv[1])))))


if __name__ == "__main__":
    main()
