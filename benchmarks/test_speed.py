"""The product against the as-published baseline: same weights, data, random numbers and network calls."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from benchmarks import as_published
from benchmarks.ratios import ROWS
from uadbench.core.seeding import torch_generator
from uadbench.core.types import ImageSpec, Scan
from uadbench.diffusion.noises import Synomaly as SynomalyNoise
from uadbench.diffusion.samplers import ancestral, ancestral_step, ddim
from uadbench.diffusion.schedules import Schedule
from uadbench.diffusion.simplex import Simplex
from uadbench.methods.anoddpm import AnoDdpm
from uadbench.methods.anoddpm.config import AnoDdpmConfig
from uadbench.methods.synomaly import Synomaly
from uadbench.methods.synomaly.config import SynomalyConfig
from uadbench.methods.synomaly.method import stage_rule

Versus = Callable[..., float]
CHAIN = 10  # timed steps of the long chain, each of the two paths in turns


def random_weights(network: nn.Module) -> None:
    """Fills layers that start at zero too, so that every path of the network counts."""
    generator = torch.Generator().manual_seed(0)
    for parameter in network.parameters():
        if parameter.ndim > 1 and not parameter.detach().any():
            parameter.data.normal_(0, 0.02, generator=generator)


def scans(count: int, size: int) -> Scan:
    """Smooth random images with uids."""
    grid = torch.randn(count, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    image = nn.functional.interpolate(grid, size=(size, size), mode="bicubic").clamp(-1, 1)
    return Scan(tuple(f"u{i}" for i in range(count)), image, torch.ones_like(image, dtype=torch.bool))


def generators(scan: Scan) -> list[torch.Generator]:
    return [torch_generator("bench", uid) for uid in scan.uid]


def difference(ours: Tensor | np.ndarray, theirs: Tensor | np.ndarray) -> float:
    a, b = np.asarray(ours, np.float64), np.asarray(theirs, np.float64)
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


@pytest.mark.parametrize(("preset", "count"), [("quick", 16), ("paper", 2)])
def test_synomaly_inference(versus: Versus, preset: str, count: int) -> None:
    """Adaptive stages as the preset has them; few images of the large network, each of whose calls takes a second."""
    config = SynomalyConfig.resolve(preset, overrides={"direction": 1})
    spec = ImageSpec(1, config.image_size, config.image_size, 1)
    model = Synomaly.build(config, spec)
    random_weights(model.denoiser.network)
    scan, rule, t = scans(count, config.image_size), stage_rule(config, spec), torch.tensor([config.t])
    abar = float(model.schedule.abar[config.t])
    calls = 0

    def network(x: Tensor, when: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        return model.denoiser.network(x, when)

    @torch.inference_mode()
    def published() -> np.ndarray:
        parts = [
            as_published.synomaly_map(
                network,
                scan.image[i : i + 1],
                generator,
                signal=abar**0.5,
                spread=(1 - abar) ** 0.5,
                t=int(t),
                stages=rule.stages,
                stage_k=rule.stage_k,
                stage_tau=rule.stage_tau,
                map_k=rule.map_k,
                least=rule.min_component,
                floor=rule.floor,
            )
            for i, generator in enumerate(generators(scan))
        ]
        return np.stack([values for values, _ in parts])

    @torch.inference_mode()
    def product() -> np.ndarray:
        return model.predict(scan, generators(scan)).anomaly_map[:, 0].numpy()

    error = difference(product(), published())
    per_image = calls / count
    versus(
        f"synomaly inference, {preset} network, {config.image_size} px, {count} images",
        published,
        product,
        map_error=f"{error:.1e}",
        calls_per_image=per_image,
    )
    assert error < 0.01


@pytest.mark.parametrize(("preset", "batch"), [("quick", 16), ("paper", 2)])
def test_synomaly_training_step(versus: Versus, preset: str, batch: int) -> None:
    config = SynomalyConfig.resolve(preset, overrides={"direction": 1})
    size = config.image_size
    spec = ImageSpec(1, size, size, 1)
    ours, theirs = Synomaly.build(config, spec), Synomaly.build(config, spec)
    theirs.load_state_dict(ours.state_dict())
    images = scans(batch, size).image
    schedule, steps = ours.schedule, torch.arange(batch) * 37 % 1000
    optimizers = [
        torch.optim.AdamW(ours.parameters(), lr=1e-5, weight_decay=0),
        torch.optim.AdamW(theirs.parameters(), lr=1e-5, weight_decay=0, foreach=False),
    ]
    signal, spread = schedule.signal(steps), schedule.noise(steps)

    def published() -> float:
        generator = torch.Generator().manual_seed(0)
        sigma = config.sigma * size / 128

        def draw(image: Tensor) -> Tensor:
            return as_published.synomaly_noise(image, generator, sigma, config.threshold, config.offset)

        return as_published.training_step(theirs.denoiser.network, optimizers[1], images, draw, signal, spread, steps)

    def product() -> float:
        generator = torch.Generator().manual_seed(0)
        noise = ours.training_noise(images, [generator] * batch, steps)
        loss = (ours.denoiser(schedule.diffuse(images, noise, steps), steps) - noise).square().mean()
        optimizers[0].zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(ours.denoiser.network.parameters(), 1.0)
        optimizers[0].step()
        return float(loss.detach())

    first = abs(product() - published())
    versus(
        f"synomaly training step, {preset} network, batch {batch}",
        published,
        product,
        loss_error=f"{first:.1e}",
    )
    assert first < 1e-3


@pytest.mark.parametrize("size", [128, 256])
def test_synomaly_noise_of_a_batch_of_16(versus: Versus, size: int) -> None:
    sigma = {128: 3.0, 256: 7.0}[size]
    noise = SynomalyNoise(sigma * 128 / size, 175.0, 0.5)
    like, t = torch.zeros(16, 1, size, size), torch.zeros(16, dtype=torch.long)

    def published() -> Tensor:
        generator = torch.Generator().manual_seed(0)
        rows = [as_published.synomaly_noise(row[None], generator, sigma, 175.0, 0.5) for row in like]
        return torch.cat(rows)

    def product() -> Tensor:
        return noise(like, [torch.Generator().manual_seed(0)] * 16, t)

    # a pixel whose blurred value lies on the threshold may fall on either side
    flipped = float((product() - published()).abs().gt(1e-3).float().mean())
    versus(f"synomaly noise, batch 16, {size} px, sigma {sigma:g}", published, product, flipped=f"{flipped:.1e}")
    assert flipped < 1e-3


def test_anoddpm_steps_at_256(versus: Versus, request: pytest.FixtureRequest) -> None:
    """Ancestral steps of the published chain (250 in all), one image: a ratio a step, the two paths in turns."""
    config = AnoDdpmConfig.resolve("paper")
    model = AnoDdpm.build(config, ImageSpec(1, 256, 256))
    random_weights(model.denoiser.network)
    schedule: Schedule = model.schedule
    image, abar = scans(1, 256).image, schedule.abar

    def draw(generator: torch.Generator) -> Callable[[Tensor, int], Tensor]:
        return lambda like, t: model.noise(like, [generator], torch.full((1,), t))

    @torch.inference_mode()
    def published() -> Iterator[Tensor]:
        x, noise = image, draw(torch.Generator().manual_seed(3))
        for t in range(config.t, -1, -1):
            x = as_published.ancestral_step(model.denoiser.network, x, t, abar, noise)
            yield x

    @torch.inference_mode()
    def product() -> Iterator[Tensor]:
        x, noise = image, draw(torch.Generator().manual_seed(3))
        for t in range(config.t, -1, -1):
            x = ancestral_step(model.denoiser, schedule, x, t, t - 1, noise)
            yield x

    theirs, ours = published(), product()
    states: dict[str, Tensor] = {}
    versus(
        f"anoddpm, an ancestral step of {config.t} at 256 px, paper network",
        lambda: states.update(theirs=next(theirs)),
        lambda: states.update(ours=next(ours)),
        rounds=CHAIN,
    )
    error = difference(states["ours"], states["theirs"])
    request.config.stash[ROWS][-1]["map_error"] = f"{error:.1e}"
    assert error < 0.01


def test_anoddpm_with_ddim(versus: Versus) -> None:
    """The option with 25 calls in place of 251, whole chains of a small network; benchmarks/ddim.py has its quality."""
    config = AnoDdpmConfig.resolve("smoke")
    model = AnoDdpm.build(config, ImageSpec(1, 32, 32))
    random_weights(model.denoiser.network)
    image = scans(16, 32).image

    def draw(like: Tensor, t: int) -> Tensor:
        return model.noise(like, [torch.Generator().manual_seed(t)] * len(like), torch.full((len(like),), t))

    @torch.inference_mode()
    def all_steps() -> Tensor:
        return ancestral(model.denoiser, model.schedule, image, config.t, draw)

    @torch.inference_mode()
    def few_steps() -> Tensor:
        return ddim(model.denoiser, model.schedule, image, config.t, 25)

    versus(f"anoddpm, {config.t + 1} ancestral steps against 25 of ddim", all_steps, few_steps)


def test_simplex_fields(benchmark: Any, request: pytest.FixtureRequest) -> None:
    """Fields of 256 x 256, six octaves, against the 25 ms of the published compiled code (docs/performance)."""
    noise = Simplex()
    like, t = torch.zeros(16, 1, 256, 256), torch.full((16,), 250)
    benchmark.pedantic(
        lambda: noise(like, [torch.Generator().manual_seed(i) for i in range(16)], t), rounds=5, warmup_rounds=1
    )
    field = benchmark.stats.stats.median / 16
    benchmark.extra_info.update(ms_per_field=1000 * field, ratio_to_25_ms=0.025 / field)
    request.config.stash[ROWS].append(
        {"work": "simplex field 256 px, 6 octaves", "baseline_s": 0.025, "product_s": field, "ratio": 0.025 / field}
    )
