from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from uadbench.core.catalog import METHODS
from uadbench.core.errors import UserError
from uadbench.core.types import ImageBatch, ImageSpec
from uadbench.diffusion.noises import Synomaly as SynomalyNoise
from uadbench.methods.synomaly.config import SynomalyConfig
from uadbench.methods.synomaly.method import Synomaly
from uadbench.methods.synomaly.stages import StageRule, refine, residual

RULE = StageRule(stages=6, floor=0, stage_k=1, stage_tau=0.1, map_k=1, tau=0.1)


def square(side: int = 32, low: int = 8, high: int = 24, value: float = 1.0) -> torch.Tensor:
    image = torch.zeros(1, 1, side, side)
    image[..., low:high, low:high] = value
    return image


class Peeler:
    """A denoiser with a known answer: each stage takes away ``columns`` more columns of what is bright in its input."""

    def __init__(self, columns: int) -> None:
        self.columns = columns
        self.inputs: list[torch.Tensor] = []
        self.rows: list[list[int]] = []

    def __call__(self, current: torch.Tensor, rows: list[int]) -> torch.Tensor:
        self.inputs.append(current.clone())
        self.rows.append(list(rows))
        out = current.clone()
        for image in out[:, 0]:
            bright = (image > 0.5).any(0).nonzero().flatten()[: self.columns]
            image[:, bright] = 0
        return out


def test_stages_peel_until_the_mask_stops_growing() -> None:
    image = square()
    peeler = Peeler(4)
    refined = refine(image, peeler, RULE)
    # 16 bright columns go in stages 1 to 4; the fifth changes nothing
    assert refined.stages == [5]
    assert torch.equal(refined.mask, image > 0.5)
    assert torch.equal(residual(image, refined.restored, 1), image)
    for stage, given in enumerate(peeler.inputs):
        wanted = square()
        wanted[..., 8 : 8 + 4 * stage] = 0
        assert torch.equal(given, wanted)


def test_residuals_are_against_the_original_not_the_last_input() -> None:
    refined = refine(square(), Peeler(4), replace(RULE, stages=3))
    assert refined.stages == [3]
    assert int(refined.mask.sum()) == 12 * 16  # against the stage's own input it would be 4 columns


def test_binary_fusion_puts_the_original_back_outside_the_mask() -> None:
    image = square()

    def faint(current: torch.Tensor, rows: list[int]) -> torch.Tensor:
        out = current + 0.05  # below stage_tau everywhere
        out[..., 8:12, 8:12] = 0
        return out

    seen: list[torch.Tensor] = []

    def record(current: torch.Tensor, rows: list[int]) -> torch.Tensor:
        seen.append(current.clone())
        return faint(current, rows)

    refine(image, record, replace(RULE, stages=2))
    wanted = square()
    wanted[..., 8:12, 8:12] = 0
    assert torch.equal(seen[1], wanted)
    seen.clear()
    refine(image, record, replace(RULE, stages=2, fusion="none"))
    assert torch.equal(seen[1], faint(image, [0]))


def test_soft_fusion_weights_by_the_residual_above_tau() -> None:
    image = square(value=0.5)
    seen: list[torch.Tensor] = []

    def halve(current: torch.Tensor, rows: list[int]) -> torch.Tensor:
        seen.append(current.clone())
        return current / 2

    refine(image, halve, replace(RULE, stages=2, fusion="soft"))
    # residual 0.25 is the weight: 0.25 * 0.25 + 0.75 * 0.5
    assert seen[1].max() == pytest.approx(0.4375)


def test_images_leave_the_batch_when_they_have_converged() -> None:
    image = torch.cat([square(), torch.zeros(1, 1, 32, 32), square(low=10, high=14)])
    peeler = Peeler(4)
    refined = refine(image, peeler, RULE)
    assert refined.stages == [5, 2, 2]
    assert peeler.rows == [[0, 1, 2], [0, 1, 2], [0], [0], [0]]
    alone = refine(image[:1], Peeler(4), RULE)
    assert torch.equal(alone.restored, refined.restored[:1])


def test_fixed_stages_run_them_all_and_a_floor_stops_small_changes() -> None:
    empty = torch.zeros(1, 1, 32, 32)
    assert refine(empty, Peeler(4), replace(RULE, adaptive=False)).stages == [6]
    # 64 pixels a stage: less than 1 % of 10000, though twice the mask of the stage before
    assert refine(square(), Peeler(4), replace(RULE, floor=10_000)).stages == [2]


def test_small_components_are_dropped_with_four_neighbours() -> None:
    image = torch.zeros(1, 1, 16, 16)
    image[..., 2, 2] = image[..., 3, 3] = 1  # joined at a corner only
    image[..., 8:10, 8:10] = 1
    rule = replace(RULE, min_component=2, stages=1)

    def blank(current: torch.Tensor, rows: list[int]) -> torch.Tensor:
        return torch.zeros_like(current)

    refined = refine(image, blank, rule)
    assert int(refined.mask.sum()) == 4


def test_direction_follows_the_polarity_of_the_data() -> None:
    def directions(polarity: int, **overrides: object) -> tuple[int, ...]:
        config = SynomalyConfig.resolve("smoke", overrides=overrides)
        noise = Synomaly.build(config, ImageSpec(1, 32, 32, polarity)).noise
        assert isinstance(noise, SynomalyNoise)
        return noise.directions

    assert directions(-1) == (-1,)
    assert directions(0) == (-1, 1)
    assert directions(0, direction=1) == (1,)
    assert directions(1, direction=0) == (1,)
    assert directions(1, direction=[-1, 1]) == (-1, 1)


def test_lengths_are_scaled_from_the_128_grid() -> None:
    config = SynomalyConfig.resolve("quick")
    rule = Synomaly.build(config, ImageSpec(1, 64, 64)).rule
    assert (rule.map_k, rule.stage_k, rule.min_component, rule.floor) == (9, 3, 8, 125)


@pytest.mark.parametrize(
    ("overrides", "words"), [({"t": 1000}, "t=1000"), ({"widths": [8] * 6}, "multiples of 32"), ({"map_k": 4}, "odd")]
)
def test_bad_settings_are_refused_by_name(overrides: dict[str, object], words: str) -> None:
    with pytest.raises(UserError, match=words):
        Synomaly.build(SynomalyConfig.resolve("smoke", overrides=overrides), ImageSpec(1, 32, 32))


def test_images_of_another_shape_are_refused() -> None:
    method = Synomaly.build(SynomalyConfig.resolve("smoke"), ImageSpec(1, 32, 32))
    images = ImageBatch(("a",), torch.zeros(1, 3, 32, 32), torch.ones(1, 1, 32, 32, dtype=torch.bool))
    with pytest.raises(UserError, match="shape"):
        method.predict(images, [torch.Generator()])


def test_the_registry_knows_it() -> None:
    assert METHODS.load("synomaly").name == "synomaly"
