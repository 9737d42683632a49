from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from uadbench.core.errors import UserError
from uadbench.diffusion.epsilon import variational_bound
from uadbench.diffusion.samplers import ancestral, ancestral_step, ddim, filled, one_step
from uadbench.diffusion.schedules import Schedule, ScheduleName
from uadbench.nn.unet import GuidedUNet, PlainUNet


@pytest.mark.parametrize(("t", "factor"), [(100, 0.171), (150, 0.253), (200, 0.338), (250, 0.427), (300, 0.522)])
def test_cosine_schedule_has_the_published_contrast_factors(t: int, factor: float) -> None:
    abar = Schedule.make("cosine").abar[t]
    assert math.sqrt((1 - abar) / abar) == pytest.approx(factor, abs=1e-3)


@pytest.mark.parametrize("name", ["cosine", "linear"])
def test_schedules_go_from_image_to_noise(name: ScheduleName) -> None:
    schedule = Schedule.make(name)
    assert schedule.abar[0] > 0.999
    assert schedule.abar[-1] < 1e-4
    assert (np.diff(schedule.abar) < 0).all()
    with pytest.raises(UserError, match="t=1000"):
        schedule.check(1000)


def test_restoring_with_the_true_noise_gives_the_image_back() -> None:
    schedule = Schedule.make("cosine")
    image = torch.rand(4, 1, 8, 8) * 2 - 1
    noise, t = torch.randn_like(image), torch.tensor([0, 100, 400, 700])
    assert torch.allclose(schedule.restore(schedule.diffuse(image, noise, t), noise, t), image, atol=1e-4)


@pytest.mark.parametrize("steps", [1, 5, 250])
def test_samplers_recover_the_image_with_an_oracle(steps: int) -> None:
    schedule = Schedule.make("cosine")
    image = torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(0)) * 1.8 - 0.9
    calls: list[int] = []

    def oracle(x_t: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        calls.append(int(t[0]))
        return (x_t - schedule.signal(t) * image) / schedule.noise(t)

    t = torch.tensor([249, 249])
    x_t = schedule.diffuse(image, torch.randn_like(image), t)
    assert torch.allclose(ddim(oracle, schedule, x_t, 249, steps), image, atol=1e-3)
    assert len(calls) <= steps
    assert calls[0] == 249
    calls.clear()

    def draw(like: torch.Tensor, step: int) -> torch.Tensor:
        return torch.randn_like(like)

    assert torch.allclose(ancestral(oracle, schedule, x_t, 249, draw), image, atol=0.1)
    assert calls == list(range(249, -1, -1))
    calls.clear()
    assert torch.allclose(ancestral(oracle, schedule, x_t, 249, draw, steps=5), image, atol=0.1)
    assert len(calls) == 5


def test_one_step_equals_ddim_of_one_step() -> None:
    schedule = Schedule.make("cosine")
    x_t = torch.randn(2, 1, 8, 8)

    def half(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        return x / 2

    assert torch.equal(one_step(half, schedule, x_t, 100), ddim(half, schedule, x_t, 100, 1))


def test_ancestral_steps_follow_the_posterior_of_the_forward_process() -> None:
    # x0 = 0 everywhere and an oracle: the marginal at step s must have variance 1 - abar_s
    schedule = Schedule.make("cosine")
    generator = torch.Generator().manual_seed(0)

    def oracle(x_t: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        return x_t / schedule.noise(t)

    def draw(like: torch.Tensor, step: int) -> torch.Tensor:
        return torch.randn(like.shape, generator=generator)

    t = torch.tensor([300])
    start = schedule.noise(t) * torch.randn(1, 1, 200, 200, generator=generator)
    for after in (299, 250, 100):  # neighbours, then leaps
        start = ancestral_step(oracle, schedule, start, int(t), after, draw)
        t = torch.tensor([after])
        assert float(start.var()) == pytest.approx(1 - schedule.abar[after], rel=0.03)


def test_a_short_batch_is_filled_up_with_copies_of_its_first_image() -> None:
    images = torch.arange(3.0).view(3, 1, 1, 1)
    assert filled(images, 5).flatten().tolist() == [0, 1, 2, 0, 0]
    assert torch.equal(filled(images, 3), images)


def test_variational_bound_is_least_for_the_true_noise() -> None:
    schedule = Schedule.make("cosine")
    image = torch.zeros(3, 1, 16, 16)
    noise, t = torch.randn(3, 1, 16, 16, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 50, 900])
    x_t = schedule.diffuse(image, noise, t)
    true = float(variational_bound(schedule, image, x_t, noise, t))
    assert 0 <= true < float(variational_bound(schedule, image, x_t, noise + 0.3, t))
    # by hand at t = 500: the two variances differ, the means agree
    t = torch.full((3,), 500)
    beta, before, now = schedule.betas[500], schedule.abar[499], schedule.abar[500]
    ratio = (1 - before) / (1 - now)
    wanted = 0.5 * (ratio - 1 - math.log(ratio)) / math.log(2)
    assert beta > 0
    x_t = schedule.diffuse(image, noise, t)
    assert float(variational_bound(schedule, image, x_t, noise, t)) == pytest.approx(wanted, abs=1e-6)


def test_guided_unet_has_the_published_size() -> None:
    with torch.device("meta"):
        network = GuidedUNet(1, 1, 128)
        with FlopCounterMode(display=False) as counter:
            out = network(torch.zeros(1, 1, 128, 128), torch.zeros(1, dtype=torch.long))
    assert out.shape == (1, 1, 128, 128)
    assert sum(parameter.numel() for parameter in network.parameters()) / 1e6 == pytest.approx(98.62, rel=0.005)
    assert counter.get_total_flops() / 2e9 == pytest.approx(74.1, rel=0.005)


def test_unets_start_at_zero_and_look_at_the_step() -> None:
    network = PlainUNet(1, 1, (8, 16), time=True)
    image = torch.randn(2, 1, 16, 24)
    assert not network(image, torch.tensor([1, 900])).any()
    small = GuidedUNet(1, 2, 16, base=8, multipliers=(1, 2), blocks=1, attention=(8,))
    for parameter in [*network.parameters(), *small.parameters()]:
        torch.nn.init.normal_(parameter, std=0.1)
    for unet, channels in ((network, 1), (small, 2)):
        early, late = unet(image[:1], torch.tensor([1])), unet(image[:1], torch.tensor([900]))
        assert early.shape == (1, channels, 16, 24)
        assert not torch.allclose(early, late)
