"""Autoencoder, variational autoencoder and f-AnoGAN against their equations."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from uadbench.core.catalog import METHODS
from uadbench.core.errors import UserError
from uadbench.core.types import ImageSpec
from uadbench.methods.fanogan.method import gradient_penalty
from uadbench.methods.fanogan.networks import Critic, Encoder, Generator
from uadbench.methods.vae.method import kl_to_standard_normal
from uadbench.nn.conv import coarse_shape, level_widths, seeded_dropout
from uadbench.nn.training import learning_rate
from uadbench.testing.fakes import InMemoryBatches, LocalFitContext
from uadbench.testing.images import synthetic_images


@pytest.mark.parametrize("name", ["autoencoder", "vae", "fanogan"])
def test_quick_sees_4096_images(name: str) -> None:
    assert METHODS.load(name).config_type.resolve("quick").images_seen == 4096


@pytest.mark.parametrize(
    ("name", "settings"), [("autoencoder", {"bottleneck": "spatial"}), ("autoencoder", {}), ("vae", {})]
)
def test_training_lowers_the_loss(name: str, settings: dict[str, Any]) -> None:
    cls: Any = METHODS.load(name)
    spec = ImageSpec(1, 32, 32)
    images = InMemoryBatches(synthetic_images(16, spec), spec)
    run = LocalFitContext(every=100)
    cls.build(cls.config_type.resolve("smoke", overrides={"steps": 40, **settings}), spec).fit(images, images, run)
    losses = [scalars["loss"] for _, scalars in run.history]
    assert sum(losses[-5:]) < 0.7 * sum(losses[:5])


def test_study_architecture() -> None:
    cls: Any = METHODS.load("autoencoder")
    config = cls.config_type.resolve("paper")
    assert level_widths(config.width, config.max_width, config.levels) == [32, 64, 128, 128]
    assert coarse_shape(ImageSpec(1, 128, 128), config.levels) == (8, 8)
    # 5 x 5 convolutions 1-32-64-128-128 and 128-128-64-32-32, two dense layers of 1024 x 128, 1 x 1 convolutions
    weights = sum(p.numel() for p in cls.build(config, ImageSpec(1, 128, 128)).parameters() if p.ndim > 1)
    down = 25 * (1 * 32 + 32 * 64 + 64 * 128 + 128 * 128)
    up = 25 * (128 * 128 + 128 * 64 + 64 * 32 + 32 * 32)
    assert weights == down + up + 2 * 1024 * 128 + 2 * 128 * 16 + 32


def test_image_that_does_not_fit_the_levels_is_refused() -> None:
    with pytest.raises(UserError, match="multiples of 16"):
        coarse_shape(ImageSpec(1, 120, 128), 4)


def test_dropout_keeps_the_mean_and_follows_its_generator() -> None:
    values = torch.ones(100, 100)
    dropped = seeded_dropout(values, 0.2, torch.Generator().manual_seed(1))
    assert dropped.mean().item() == pytest.approx(1, abs=0.02)
    assert torch.equal(dropped, seeded_dropout(values, 0.2, torch.Generator().manual_seed(1)))
    assert seeded_dropout(values, 0.2, None) is values


def test_kl_agrees_with_the_library() -> None:
    mean, log_sigma = torch.randn(2, 3, 5, generator=torch.Generator().manual_seed(0))
    expected = kl_divergence(Normal(mean, log_sigma.exp()), Normal(0.0, 1.0)).sum(1)
    torch.testing.assert_close(kl_to_standard_normal(mean, log_sigma), expected)


def test_gradient_penalty_of_a_linear_critic() -> None:
    weight = torch.randn(12, generator=torch.Generator().manual_seed(0))
    critic = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 1), torch.nn.Flatten(0))
    critic[1].weight.data = weight[None].clone()
    real, fake = torch.rand(2, 5, 3, 2, 2)
    penalty = gradient_penalty(critic, real, fake, torch.rand(5, 1, 1, 1))
    assert penalty.item() == pytest.approx((weight.norm().item() - 1) ** 2, rel=1e-5)
    penalty.backward()
    assert critic[1].weight.grad is not None


def test_networks_of_the_paper() -> None:
    generator = Generator(128, 1, 64, (4, 4), 4).eval()
    encoder = Encoder(128, 1, 64, (4, 4), 4).eval()
    critic = Critic(1, 64, (4, 4), 4)
    with torch.no_grad():
        image = generator(torch.zeros(1, 128))
        assert image.shape == (1, 1, 64, 64)
        assert image.abs().max() <= 1
        assert encoder(image).shape == (1, 128)
        assert critic.features(image).shape == (1, 4 * 4 * 8 * 64)
        assert critic(image).shape == (1,)


def test_critic_does_not_see_companions() -> None:
    critic = Critic(1, 8, (4, 4), 2)
    images = torch.randn(3, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(critic(images)[:1], critic(images[:1]))


def test_cosine_schedule_falls_from_the_base_to_nothing() -> None:
    rates = [learning_rate(0.1, step, 100, "cosine") for step in range(100)]
    assert rates[0] == 0.1
    assert rates == sorted(rates, reverse=True)
    assert rates[50] == pytest.approx(0.05)
    assert rates[-1] < 1e-4
    assert learning_rate(0.1, 99, 100, "constant") == 0.1
