"""Rules of the published codes, each against a statement of its own in a few lines."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy import ndimage
from sklearn.metrics import average_precision_score

from uadbench.core.catalog import METHODS
from uadbench.core.errors import UserError
from uadbench.core.types import ImageSpec
from uadbench.diffusion.schedules import Schedule
from uadbench.evaluation.cases import CaseMaps
from uadbench.evaluation.protocol.protocol import load_protocol
from uadbench.evaluation.scoring.score import score
from uadbench.methods.anoddpm.config import AnoDdpmConfig
from uadbench.methods.autoddpm.config import AutoDdpmConfig
from uadbench.methods.dae.config import DaeConfig
from uadbench.methods.dae.method import eroded
from uadbench.methods.ddpm.config import DdpmConfig
from uadbench.methods.synomaly.config import SynomalyConfig
from uadbench.methods.synomaly.stages import StageRule, refine
from uadbench.nn.score import residual_map
from uadbench.testing.fakes import InMemoryBatches, LocalFitContext
from uadbench.testing.images import synthetic_images

SIGNED = ("anoddpm", "autoddpm", "autoencoder", "dae", "ddpm", "mean_residual", "vae")
SPEC = ImageSpec(1, 32, 32, polarity=1)


@pytest.mark.parametrize(("second", "stages"), [(100, 2), (101, 2), (102, 3)])
def test_a_stage_ends_where_the_mask_changes_by_exactly_the_stated_share(second: int, stages: int) -> None:
    image, areas = torch.zeros(1, 1, 16, 16), [100, second, second]

    def restore(current: torch.Tensor, positions: list[int]) -> torch.Tensor:
        out = image.clone().flatten()
        out[: areas.pop(0)] = 1
        return out.view_as(image)

    rule = StageRule(stages=3, change=0.01, floor=0, fusion="none", stage_k=1, map_k=1)
    assert refine(image, restore, rule).stages == [stages]


def test_the_soft_weight_is_the_residual_itself_also_above_one() -> None:
    image = torch.full((1, 1, 8, 8), 0.9)
    inputs: list[torch.Tensor] = []

    def restore(current: torch.Tensor, positions: list[int]) -> torch.Tensor:
        inputs.append(current.clone())
        return torch.full_like(current, -0.6)

    refine(image, restore, StageRule(stages=2, adaptive=False, fusion="soft", map_k=1, tau=0.2))
    weight = 0.9 - -0.6  # 1.5
    assert inputs[1].numpy() == pytest.approx(weight * -0.6 + (1 - weight) * 0.9)


@pytest.mark.parametrize("side", [64, 128, 256])
def test_paper_v1_drops_final_components_under_30_pixels_of_the_128_grid(side: int) -> None:
    rng = np.random.default_rng(side)
    maps = ndimage.gaussian_filter(rng.normal(size=(3, side, side)), (0, side / 64, side / 64)).astype(np.float32)
    maps /= maps.std()
    truth = (maps > 1.5) | (maps < -2.5)
    body = np.ones(maps.shape, np.bool_)
    case = CaseMaps("a", "a", "", "", maps, body, truth.astype(np.uint8), (1, 1, 1), None)
    protocol = load_protocol("paper-v1")
    result = score(protocol, [], [case])
    threshold = result.thresholds["oracle"]
    for number, row in enumerate(result.cases.to_dict("records")):
        labels, count = ndimage.label(maps[number] > threshold)  # the four that share an edge
        sizes = np.bincount(labels.ravel(), minlength=count + 1)
        final = (sizes[labels] >= 30 * (side / 128) ** 2) & (labels > 0)
        assert 0 < final.sum() < (labels > 0).sum()
        assert row["predicted_pixels@oracle"] == final.sum()
        dice = 2 * (final & truth[number]).sum() / (final.sum() + truth[number].sum())
        assert row["dice@oracle"] == pytest.approx(dice)
        scores = np.where(final, maps[number], 0)
        assert row["ap"] == pytest.approx(average_precision_score(truth[number].ravel(), scores.ravel()))


def test_autoddpm_noises_as_much_in_our_intensities_as_published_in_theirs() -> None:
    abar = np.cumprod(1 - np.linspace(1e-4, 0.02, 1000))
    ratio = np.sqrt((1 - abar) / abar)
    # [-1, 1] is twice as wide as [0, 1]: the same picture of noise needs twice the ratio
    wanted = [int(np.abs(ratio - 2 * ratio[t]).argmin()) for t in (200, 50)]
    config = AutoDdpmConfig.resolve("paper")
    assert [config.t, config.t_inpaint] == wanted == [331, 103]
    assert config.schedule == "linear"
    np.testing.assert_allclose(Schedule.make("linear").abar, abar)


def test_the_eroded_foreground_of_dae_is_that_of_its_public_code() -> None:
    body = synthetic_images(4, SPEC).images.body.clone()
    body[:, :, 14, 14] = False  # one pixel of 25 may be missing
    inside = [ndimage.convolve(one[0].astype(int), np.ones((5, 5), int), mode="constant") for one in body.numpy()]
    wanted = np.stack([count / 25 > 0.95 for count in inside])
    assert np.array_equal(eroded(body, 5)[:, 0].numpy(), wanted)
    assert wanted[:, 14, 14].any()
    assert not eroded(torch.ones(1, 1, 8, 8, dtype=torch.bool), 5)[0, 0, :2].any(), "the frame's edge is left out"
    assert eroded(body, 1).all()
    assert DaeConfig.resolve("paper").erode == 5
    assert DaeConfig.resolve("quick").erode == 1


def test_dae_is_trained_as_published() -> None:
    config = DaeConfig.resolve("paper")
    assert (config.noise_std, config.noise_cells, config.median) == (2 * 0.2, 16, 5)  # [-1, 1] is twice as wide
    assert (config.lr, config.weight_decay, config.clip, config.flip) == (1e-4, 1e-5, 0.5, False)
    assert config.train_images // config.batch_size == 32 * 2100


def test_anoddpm_trains_below_step_800_as_published() -> None:
    config = AnoDdpmConfig.resolve("paper")
    assert (config.train_below, config.t, config.schedule, config.timesteps) == (800, 250, "linear", 1000)
    seen: list[int] = []

    class Recording(torch.nn.Module):
        def forward(self, x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
            seen.extend(t.tolist())
            return x * self.scale

        def __init__(self) -> None:
            super().__init__()
            self.scale = torch.nn.Parameter(torch.ones(()))

    small = AnoDdpmConfig.resolve("smoke", overrides={"train_below": 300, "train_images": 640, "t": 250})
    method: Any = METHODS.load("anoddpm").build(small, SPEC)
    method.denoiser.network = Recording()
    healthy = InMemoryBatches(synthetic_images(8, SPEC), SPEC)
    method.fit(healthy, healthy, LocalFitContext())
    assert len(seen) == 640
    assert 250 < max(seen) < 300
    with pytest.raises(UserError, match="not trained"):
        AnoDdpmConfig.resolve("paper", overrides={"t": 800})


def test_ddpm_reconstructs_in_one_step_as_the_comparison_of_the_paper_does() -> None:
    config = DdpmConfig.resolve("paper")
    assert config.chain == "one_step"
    small = DdpmConfig.resolve("smoke", overrides={"chain": "one_step", "t": 200})
    method: Any = METHODS.load("ddpm").build(small, SPEC)
    calls: list[torch.Tensor] = []

    class Half(torch.nn.Module):
        def forward(self, x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
            calls.append(x)
            return x / 2

    method.denoiser.network = Half()
    images = synthetic_images(2, SPEC).images
    found = method.predict(images, [torch.Generator().manual_seed(row) for row in range(2)]).reconstruction
    abar = float(Schedule.make("cosine").abar[200])
    assert len(calls) == 1
    wanted = ((calls[0] - (1 - abar) ** 0.5 * calls[0] / 2) / abar**0.5).clamp(-1, 1)
    torch.testing.assert_close(found, wanted)


def test_the_paper_mirrors_both_ways_for_mr_and_us_and_never_for_ct() -> None:
    for modality, wanted in (("mr-brain-flair", True), ("us-carotid", True), ("ct-liver", False)):
        values = SynomalyConfig.published("paper", modality, 0).values
        config = SynomalyConfig.resolve("paper", published=values)
        assert (config.flip, config.flip_vertical) == (wanted, wanted)


@pytest.mark.parametrize("name", SIGNED)
def test_a_signed_residual_needs_a_polarity_and_shows_it(name: str) -> None:
    kind: Any = METHODS.load(name)
    config = kind.config_type.resolve("smoke", overrides={"signed": True})
    assert kind.build(config, SPEC).polarity == 1
    assert kind.build(kind.config_type.resolve("smoke"), SPEC).polarity == 0
    with pytest.raises(UserError, match="bright or dark"):
        kind.build(config, ImageSpec(1, 32, 32, polarity=0))
    assert "signed" in kind.config_type.INFERENCE


def test_a_signed_residual_keeps_one_direction() -> None:
    image, restored = torch.tensor([0.5, -0.5, 0.2]).view(1, 1, 1, 3), torch.tensor([0.0, 0.0, 0.2]).view(1, 1, 1, 3)
    assert residual_map(image, restored).flatten().tolist() == [0.5, 0.5, 0.0]
    assert residual_map(image, restored, 1).flatten().tolist() == [0.5, 0.0, 0.0]
    assert residual_map(image, restored, -1, 2).flatten().tolist() == [0.0, 0.25, 0.0]
