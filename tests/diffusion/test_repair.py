from __future__ import annotations

import pytest
import torch

from uadbench.diffusion.schedules import Schedule
from uadbench.methods.autoddpm.repair import dilated_mask, dissimilarity, inpaint, suspicion
from uadbench.methods.dae.method import median_filter


def test_inpainting_changes_the_mask_alone_and_lands_on_the_healthy_image() -> None:
    schedule = Schedule.make("linear")
    generator = torch.Generator().manual_seed(0)
    healthy = torch.zeros(1, 1, 16, 16)
    image = healthy.clone()
    image[..., 4:8, 4:8] = 0.8
    image[..., 12, 12] = 0.3
    mask = torch.zeros_like(image, dtype=torch.bool)
    mask[..., 3:9, 3:9] = True
    calls: list[int] = []

    def oracle(x_t: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        calls.append(int(t[0]))
        return (x_t - schedule.signal(t) * healthy) / schedule.noise(t)

    def draw(like: torch.Tensor, step: int) -> torch.Tensor:
        return torch.randn(like.shape, generator=generator)

    restored = inpaint(oracle, schedule, image, image, mask, draw, t=50, steps=0, resample=5)
    assert torch.equal(restored[~mask], image[~mask])
    assert torch.allclose(restored[mask], healthy[mask], atol=1e-3)
    assert calls == [t for t in range(50, 0, -1) for _ in range(5)] + [0]
    calls.clear()
    inpaint(oracle, schedule, image, image, mask, draw, t=50, steps=2, resample=2)
    assert calls == [50, 50, 25]


def test_noise_level_is_right_between_resamplings() -> None:
    # a healthy image of zeros and an oracle: x at step t must have variance 1 - abar_t whenever the network sees it
    schedule = Schedule.make("linear")
    generator = torch.Generator().manual_seed(0)
    zeros = torch.zeros(1, 1, 128, 128)
    mask = torch.ones_like(zeros, dtype=torch.bool)

    def oracle(x_t: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        assert float(x_t.var()) == pytest.approx(1 - schedule.abar[int(t)], rel=0.06)
        return x_t / schedule.noise(t)

    def draw(like: torch.Tensor, step: int) -> torch.Tensor:
        return torch.randn(like.shape, generator=generator)

    inpaint(oracle, schedule, zeros, zeros, mask, draw, t=200, steps=4, resample=3)


def test_dissimilarity_is_zero_for_equal_images_and_grows_with_change() -> None:
    image = torch.rand(2, 3, 24, 24, generator=torch.Generator().manual_seed(0)) * 2 - 1
    assert dissimilarity(image, image).abs().max() < 1e-5
    slight, strong = dissimilarity(image, 0.9 * image), dissimilarity(image, -image)
    assert 0 < slight.mean() < strong.mean() <= 1


def test_mask_covers_what_changed_most_and_one_pixel_around() -> None:
    image = torch.zeros(1, 1, 32, 32)
    image[..., 10:14, 10:14] = 1
    suspect = suspicion(image, torch.zeros_like(image), structure=True)
    mask = dilated_mask(suspect, 0.99)
    assert mask[..., 10:14, 10:14].all()
    assert not mask[..., :5, :].any()
    alone = torch.zeros(1, 1, 9, 9)
    alone[..., 4, 4] = 1
    assert int(dilated_mask(alone, 0.95).sum()) == 9


def test_a_perfect_reconstruction_raises_no_suspicion() -> None:
    image = torch.full((1, 1, 16, 16), 0.4)
    suspect = suspicion(image, image, structure=False)
    assert not suspect.any()
    assert not dilated_mask(suspect, 0.95).any()


def test_median_filter_drops_specks_and_keeps_edges() -> None:
    image = torch.zeros(1, 1, 16, 16)
    image[..., :8] = 1
    speckled = image.clone()
    speckled[..., 5, 12] = 1
    assert torch.equal(median_filter(speckled, 3), image)
    assert torch.equal(median_filter(speckled, 1), speckled)
