"""The product against the as-published baseline: same weights, data, random numbers and network calls."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score
from torch import Tensor, nn

from benchmarks.as_published import stage_mask
from benchmarks.pairs import anoddpm_steps, random_weights, scans, synomaly_inference, synomaly_noise, synomaly_training
from benchmarks.support.ratios import ROWS
from uadbench.core.types import ImageSpec
from uadbench.diffusion.samplers import ancestral, ddim
from uadbench.diffusion.simplex import Simplex
from uadbench.methods.anoddpm.config import AnoDdpmConfig
from uadbench.methods.anoddpm.method import AnoDdpm

Versus = Callable[..., float]
CHAIN = 10  # timed steps of the long chain, each of the two paths in turns


@contextmanager
def calls_of(network: nn.Module) -> Generator[list[None]]:
    """Counts the calls of a network: one entry each."""
    calls: list[None] = []

    def count(*_: object) -> None:
        calls.append(None)

    hook = network.register_forward_hook(count)
    yield calls
    hook.remove()


def difference(ours: Tensor | np.ndarray, theirs: Tensor | np.ndarray) -> float:
    a, b = np.asarray(ours, np.float64), np.asarray(theirs, np.float64)
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


@pytest.mark.parametrize(("preset", "count"), [("quick", 16), ("paper", 2)])
def test_synomaly_inference(versus: Versus, preset: str, count: int) -> None:
    """Adaptive stages as the preset has them; few images of the large network, each of whose calls takes a second."""
    pair = synomaly_inference(preset, count)
    assert pair.model is not None
    assert pair.network is not None
    with calls_of(pair.network) as calls:
        their_maps, their_restored = pair.published().numpy()
    maps, restored = pair.product().numpy()
    image = scans(count, maps.shape[-1]).image[:, 0].numpy()
    error, bright = difference(maps, their_maps), (image > np.quantile(image, 0.95)).ravel()
    ap, their_ap = (average_precision_score(bright, values.ravel()) for values in (maps, their_maps))
    masks, their_masks = (
        [stage_mask(*planes, pair.model.rule) for planes in zip(image, after, strict=True)]
        for after in (restored, their_restored)
    )
    flips = int(np.not_equal(masks, their_masks).sum())
    notes = {"map_error": f"{error:.1e}", "ap_error": f"{abs(ap - their_ap):.1e}"}
    notes |= {"flips": f"{flips} of {np.sum(their_masks)}", "calls_per_image": len(calls) / count}
    versus(pair.work, pair.published, pair.product, **notes)
    assert error < 0.01
    assert abs(ap - their_ap) < 0.002
    assert flips < 1e-3 * image.size


@pytest.mark.parametrize(("preset", "batch"), [("quick", 16), ("paper", 2)])
def test_synomaly_training_step(versus: Versus, preset: str, batch: int) -> None:
    pair = synomaly_training(preset, batch)
    first = float(abs(pair.product() - pair.published()))
    versus(pair.work, pair.published, pair.product, loss_error=f"{first:.1e}")
    assert first < 1e-3


@pytest.mark.parametrize("size", [128, 256])
def test_synomaly_noise_of_a_batch_of_16(versus: Versus, size: int) -> None:
    pair = synomaly_noise(size)
    # a pixel whose blurred value lies on the threshold may fall on either side
    flipped = float((pair.product() - pair.published()).abs().gt(1e-3).float().mean())
    versus(pair.work, pair.published, pair.product, flipped=f"{flipped:.1e}")
    assert flipped < 1e-3


def test_anoddpm_steps_at_256(versus: Versus, request: pytest.FixtureRequest) -> None:
    """Ancestral steps of the published chain (250 in all), one image: a ratio per step, the two paths in turns."""
    pair = anoddpm_steps()
    states: dict[str, Tensor] = {}
    versus(
        pair.work,
        lambda: states.update(theirs=pair.published()),
        lambda: states.update(ours=pair.product()),
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
