"""Each work twice, on the same weights, images and random numbers: as published, and by the product.

``python -m benchmarks.pairs [--json FILE] [--write-docs] [--only WORD] [--rounds N]`` prints, for each work, the
seconds as published, of the product in fp32 and in bf16, and in the number format and layout that ``--precision auto``
picks here, with the ratio of the picked way to the published one. On shared cores it gives no ratio. ``--write-docs``
stores the figures as this kind of machine's column in benchmarks/machines.json and writes the table of
docs/explanation/performance.md; on shared cores it refuses.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks import as_published
from benchmarks.support import machine_table
from benchmarks.support.ratios import machine
from uadbench.core.numerics import PLAIN, Numerics
from uadbench.core.seeding import torch_generator
from uadbench.core.types import ImageBatch, ImageSpec
from uadbench.diffusion.noises import Synomaly as SynomalyNoise
from uadbench.diffusion.samplers import ancestral_step
from uadbench.methods.anoddpm.config import AnoDdpmConfig
from uadbench.methods.anoddpm.method import AnoDdpm
from uadbench.methods.synomaly.config import SynomalyConfig
from uadbench.methods.synomaly.method import Synomaly, stage_rule
from uadbench.nn.training import initialise
from uadbench.runner.execution.allocator import keep_memory
from uadbench.runner.execution.probe import bf16_pays, fastest, is_shared


@dataclass(frozen=True)
class Pair:
    """A work done in two ways.

    Attributes:
        work: Its name.
        published: As the papers' codes do it, written from their descriptions.
        product: As uadbench does it; the result should be the same.
        model: The model of the product, if it takes one.
        network: The published way's network of the same weights, which stays in fp32 and channels first.
    """

    work: str
    published: Callable[[], Tensor]
    product: Callable[[], Tensor]
    model: Synomaly | AnoDdpm | None = None
    network: nn.Module | None = None


def random_weights(network: nn.Module) -> None:
    """Sets the same weights each time, zero layers included, so that every path of the network counts."""
    generator = torch.Generator().manual_seed(0)
    initialise(network, generator)
    for parameter in network.parameters():
        if parameter.ndim > 1 and not parameter.detach().any():
            parameter.data.normal_(0, 0.02, generator=generator)


def scans(count: int, size: int) -> ImageBatch:
    """Returns smooth random images with uids."""
    grid = torch.randn(count, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    image = nn.functional.interpolate(grid, size=(size, size), mode="bicubic").clamp(-1, 1)
    return ImageBatch(tuple(f"u{i}" for i in range(count)), image, torch.ones_like(image, dtype=torch.bool))


def generators(images: ImageBatch) -> list[torch.Generator]:
    """Returns one generator per image."""
    return [torch_generator("bench", uid) for uid in images.uid]


def synomaly_inference(preset: str, count: int) -> Pair:
    """Adaptive stages as the preset has them; the results are anomaly maps and restored images (2, count, h, w)."""
    config = SynomalyConfig.resolve(preset, overrides={"direction": 1})
    spec = ImageSpec(1, config.image_size, config.image_size, 1)
    model = Synomaly.build(config, spec)
    random_weights(model.denoiser.network)
    images, rule = scans(count, config.image_size), stage_rule(config, spec)
    network = copy.deepcopy(model.denoiser.network)
    abar = float(model.schedule.abar[config.t])

    @torch.inference_mode()
    def published() -> Tensor:
        found = list[Tensor]()
        for image, generator in zip(images.image.split(1), generators(images), strict=True):
            planes = as_published.synomaly_map(network, image, generator, abar, config.t, rule)[:2]
            found.append(torch.from_numpy(np.stack(planes)))
        return torch.stack(found, dim=1)

    @torch.inference_mode()
    def product() -> Tensor:
        size = min(config.predict_batch, count)  # as a run hands a whole role over
        parts = [images.select(range(at, min(at + size, count))) for at in range(0, count, size)]
        found = list(model.predict_many([(part, generators(part)) for part in parts], size))
        planes = [(part.anomaly_map, part.reconstruction) for part in found if part.reconstruction is not None]
        return torch.cat([torch.cat(pair, dim=1) for pair in planes]).transpose(0, 1)

    work = f"synomaly inference, {preset} network, {config.image_size} px, {count} images"
    return Pair(work, published, product, model, network)


def synomaly_training(preset: str, batch: int) -> Pair:
    """Training steps one after another; the results are losses."""
    config = SynomalyConfig.resolve(preset, overrides={"direction": 1})
    size = config.image_size
    spec = ImageSpec(1, size, size, 1)
    ours, theirs = Synomaly.build(config, spec), Synomaly.build(config, spec)
    theirs.load_state_dict(ours.state_dict())
    images = scans(batch, size).image
    schedule, steps = ours.schedule, torch.arange(batch) * 37 % 1000
    optimizer = torch.optim.AdamW(ours.parameters(), lr=1e-5, weight_decay=0)
    plain = torch.optim.AdamW(theirs.parameters(), lr=1e-5, weight_decay=0, foreach=False)
    signal, spread = schedule.signal(steps), schedule.noise(steps)

    def published() -> Tensor:
        generator = torch.Generator().manual_seed(0)
        sigma = config.sigma * size / 128

        def draw(image: Tensor) -> Tensor:
            return as_published.synomaly_noise(image, generator, sigma, config.threshold, config.offset)

        network = theirs.denoiser.network
        return torch.tensor(as_published.training_step(network, plain, images, draw, signal, spread, steps))

    def product() -> Tensor:
        generator = torch.Generator().manual_seed(0)
        noise = ours.noise(images, [generator] * batch, steps)
        loss = (ours.denoiser(schedule.diffuse(images, noise, steps), steps) - noise).square().mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(ours.denoiser.network.parameters(), 1.0)
        optimizer.step()
        return loss.detach()

    work = f"synomaly training step, {preset} network, batch {batch}"
    return Pair(work, published, product, ours, theirs.denoiser.network)


def anoddpm_steps() -> Pair:
    """Each call is the next ancestral step of the published chain (250 in all) of one image of 256 x 256."""
    config = AnoDdpmConfig.resolve("paper")
    model = AnoDdpm.build(config, ImageSpec(1, 256, 256))
    random_weights(model.denoiser.network)
    image, abar = scans(1, 256).image, model.schedule.abar
    network = copy.deepcopy(model.denoiser.network)

    def draw(generator: torch.Generator) -> Callable[[Tensor, int], Tensor]:
        return lambda like, t: model.noise(like, [generator], torch.full((1,), t))

    @torch.inference_mode()
    def published() -> Iterator[Tensor]:
        x, noise = image, draw(torch.Generator().manual_seed(3))
        for t in range(config.t, -1, -1):
            x = as_published.ancestral_step(network, x, t, abar, noise)
            yield x

    @torch.inference_mode()
    def product() -> Iterator[Tensor]:
        x, noise = image, draw(torch.Generator().manual_seed(3))
        for t in range(config.t, -1, -1):
            x = ancestral_step(model.denoiser, model.schedule, x, t, t - 1, noise)
            yield x

    theirs, ours = published(), product()
    work = f"anoddpm, an ancestral step of {config.t} at 256 px, paper network"
    return Pair(work, lambda: next(theirs), lambda: next(ours), model, network)


def synomaly_noise(size: int) -> Pair:
    """Synomaly noise of 16 images with the published sigma of the size; the results are noises."""
    sigma = {128: 3.0, 256: 7.0}[size]
    noise = SynomalyNoise(sigma * 128 / size, 175.0, 0.5)
    like, t = torch.zeros(16, 1, size, size), torch.zeros(16, dtype=torch.long)

    def published() -> Tensor:
        generator = torch.Generator().manual_seed(0)
        return torch.cat([as_published.synomaly_noise(row[None], generator, sigma, 175.0, 0.5) for row in like])

    def product() -> Tensor:
        return noise(like, [torch.Generator().manual_seed(0)] * 16, t)

    return Pair(f"synomaly noise, batch 16, {size} px, sigma {sigma:g}", published, product)


def measured(pair: Pair, rounds: int) -> dict[str, Any]:
    """Returns the seconds of a work in each way; alternating; medians.

    ``fp32`` is the product channels first, ``bf16`` channels last. ``picked`` is the probe's choice; it is measured
    once if it is one of the two, because two medians of the same way differ by up to a tenth.
    """
    modes = {"fp32": PLAIN}
    if pair.model is not None:
        if bf16_pays(torch.device("cpu")):
            modes["bf16"] = Numerics("bf16", "channels_last")
        spec = pair.model.denoiser.spec
        modes["picked"] = fastest(type(pair.model).build, pair.model.config, spec, torch.device("cpu"))
    picked = modes.get("picked", PLAIN)
    times: dict[Numerics | None, list[float]] = {way: [] for way in (None, *modes.values())}  # None: as published
    for turn in range(rounds + 1):  # the first warms up
        for way, found in list(times.items())[:: 1 if turn % 2 else -1]:  # the place in a round costs up to 3 %
            if way is not None and pair.model is not None:
                pair.model.denoiser.set_numerics(way)
                pair.model.denoiser.arrange()
            began = time.perf_counter()
            (pair.published if way is None else pair.product)()
            found.append(time.perf_counter() - began)
    seconds = {way: statistics.median(each[1:]) for way, each in times.items()}
    shared = is_shared()
    return {
        "work": pair.work,
        "published": seconds[None],
        **{name: seconds[modes[name]] if name in modes else None for name in ("fp32", "bf16")},
        "picked": seconds[picked],
        "numerics": str(picked),
        "ratio": None if shared else seconds[None] / seconds[picked],
        "shared_cores": shared,
    }


WORKS: dict[str, Callable[[], Pair]] = {
    "quick inference": lambda: synomaly_inference("quick", 16),
    "quick training": lambda: synomaly_training("quick", 16),
    "paper inference": lambda: synomaly_inference("paper", 16),
    "paper training": lambda: synomaly_training("paper", 8),
    "anoddpm": anoddpm_steps,
    "noise 128": lambda: synomaly_noise(128),
    "noise 256": lambda: synomaly_noise(256),
}


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, nargs="?", const=Path("-"), help="a file, or nothing for the screen")
    parser.add_argument("--only", default="", help="works whose name holds this word")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--write-docs", action="store_true", help="store this machine's column and write the table")
    options = parser.parse_args()
    keep_memory()  # as runs do
    chosen = {name: make for name, make in WORKS.items() if options.only in name}
    if not chosen:
        parser.error(f"no work holds '{options.only}': {', '.join(WORKS)}")
    rows: list[dict[str, Any]] = []
    to_screen = options.json == Path("-")
    if not to_screen:
        print(f"{machine()}, load {os.getloadavg()[0]:.1f}\n{'work':<56}" + "".join(f"{name:>11}" for name in COLUMNS))
    for make in chosen.values():
        row = measured(make(), options.rounds)
        rows.append(row)
        cells = ["-" if row[name] is None else f"{row[name]:.3f}" for name in COLUMNS]
        if not to_screen:
            note = "  shared cores: no ratio" if row["shared_cores"] else f"  {row['numerics']}"
            print(f"{row['work']:<56}" + "".join(f"{cell:>11}" for cell in cells) + note, flush=True)
    content = json.dumps({"machine": machine(), "rows": rows}, indent=1)
    if to_screen:
        print(content)
    elif options.json:
        options.json.write_text(content)
    if options.write_docs:
        try:
            machine_table.store(machine_table.add(machine_table.load(), machine(), rows))
        except machine_table.SharedCores as error:
            parser.exit(1, f"{error}\n")
        machine_table.main()


COLUMNS = ("published", "fp32", "bf16", "picked", "ratio")

if __name__ == "__main__":
    main()
