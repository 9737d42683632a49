"""Each work twice, on the same weights, images and random numbers: as published, and by the product."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks import as_published
from uadbench.core.seeding import torch_generator
from uadbench.core.types import ImageBatch, ImageSpec
from uadbench.diffusion.noises import Synomaly as SynomalyNoise
from uadbench.diffusion.samplers import ancestral_step
from uadbench.methods.anoddpm import AnoDdpm
from uadbench.methods.anoddpm.config import AnoDdpmConfig
from uadbench.methods.synomaly import Synomaly
from uadbench.methods.synomaly.config import SynomalyConfig
from uadbench.methods.synomaly.method import stage_rule
from uadbench.nn.training import initialise


@dataclass(frozen=True)
class Pair:
    """A work done in two ways.

    Attributes:
        work: Its name.
        published: As the papers' codes do it, written from their descriptions.
        product: As uadbench does it; the result should be the same.
        model: The model of the product, if it takes one; the published way uses its network, or for training one of the
            same weights.
    """

    work: str
    published: Callable[[], Tensor]
    product: Callable[[], Tensor]
    model: Synomaly | AnoDdpm | None = None


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
    """Returns one generator an image."""
    return [torch_generator("bench", uid) for uid in images.uid]


def synomaly_inference(preset: str, count: int) -> Pair:
    """Adaptive stages as the preset has them; the results are anomaly maps and restored images (2, count, h, w)."""
    config = SynomalyConfig.resolve(preset, overrides={"direction": 1})
    spec = ImageSpec(1, config.image_size, config.image_size, 1)
    model = Synomaly.build(config, spec)
    random_weights(model.denoiser.network)
    images, rule = scans(count, config.image_size), stage_rule(config, spec)
    abar = float(model.schedule.abar[config.t])

    @torch.inference_mode()
    def published() -> Tensor:
        network, found = model.denoiser.network, list[Tensor]()
        for image, generator in zip(images.image.split(1), generators(images), strict=True):
            planes = as_published.synomaly_map(network, image, generator, abar, config.t, rule)[:2]
            found.append(torch.from_numpy(np.stack(planes)))
        return torch.stack(found, dim=1)

    @torch.inference_mode()
    def product() -> Tensor:
        found = model.predict(images, generators(images))
        assert found.reconstruction is not None
        return torch.cat([found.anomaly_map, found.reconstruction], dim=1).transpose(0, 1)

    work = f"synomaly inference, {preset} network, {config.image_size} px, {count} images"
    return Pair(work, published, product, model)


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

    return Pair(f"synomaly training step, {preset} network, batch {batch}", published, product, ours)


def anoddpm_steps() -> Pair:
    """Each call is the next ancestral step of the published chain (250 in all) of one image of 256 x 256."""
    config = AnoDdpmConfig.resolve("paper")
    model = AnoDdpm.build(config, ImageSpec(1, 256, 256))
    random_weights(model.denoiser.network)
    image, abar = scans(1, 256).image, model.schedule.abar

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
            x = ancestral_step(model.denoiser, model.schedule, x, t, t - 1, noise)
            yield x

    theirs, ours = published(), product()
    work = f"anoddpm, an ancestral step of {config.t} at 256 px, paper network"
    return Pair(work, lambda: next(theirs), lambda: next(ours), model)


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
