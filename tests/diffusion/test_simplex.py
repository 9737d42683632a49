from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch

from uadbench.core.errors import UserError
from uadbench.core.types import ImageSpec
from uadbench.diffusion.simplex import GRADIENTS, Simplex, plane


def generators(count: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(i) for i in range(count)]


def table(seed: int = 0) -> torch.Tensor:
    return torch.randperm(256, generator=torch.Generator().manual_seed(seed))[None]


def by_definition(permutation: list[int], x: float, y: float, z: float) -> float:
    """The sum over all lattice points in reach, one by one."""
    skew = (x + y + z) / 6
    near = [math.floor(value - skew) for value in (x, y, z)]
    total = 0.0
    for step in itertools.product(range(-3, 5), repeat=3):
        i, j, k = (a + b for a, b in zip(near, step, strict=True))
        lift = (i + j + k) / 3
        d = (x - i - lift, y - j - lift, z - k - lift)
        fall = 2 - sum(value**2 for value in d)
        if fall > 0:
            hashed = permutation[(permutation[(permutation[i & 255] + j) & 255] + k) & 255]
            total += fall**4 * sum(g * value for g, value in zip(GRADIENTS[hashed % 24], d, strict=True)) / 103
    return total


@pytest.mark.parametrize(
    ("frequency", "z"), [(16.0, 250), (8.0, 5), (4.0, 37), (2.0, 999), (1.0, 7), (0.5, 3), (0.25, 1)]
)
def test_field_equals_the_definition_point_by_point(frequency: float, z: int) -> None:
    permutation = table()
    field = plane(permutation, 40, 30, frequency, z)[0]
    rng = np.random.default_rng(0)
    for row, column in zip(rng.integers(0, 40, 25).tolist(), rng.integers(0, 30, 25).tolist(), strict=True):
        wanted = by_definition(permutation[0].tolist(), column / frequency, row / frequency, z / frequency)
        assert float(field[row, column]) == pytest.approx(wanted, abs=1e-5)


def test_blocks_join_without_seams() -> None:
    field = plane(table(), 200, 200, 32.0, 100)[0]
    steps = torch.cat([field.diff(dim=0).abs().flatten(), field.diff(dim=1).abs().flatten()])
    assert float(steps.max()) < 0.15  # the noise is smooth: its slope is bounded, also across blocks


def test_published_settings_have_the_published_spread() -> None:
    like = torch.zeros(24, 1, 128, 128)
    noise = Simplex()(like, generators(24), torch.arange(24) * 40)
    assert float(noise.std()) == pytest.approx(0.51, abs=0.04)
    assert abs(float(noise.mean())) < 0.1


def test_each_image_depends_on_its_own_generator_and_step_alone() -> None:
    like, t = torch.zeros(4, 2, 48, 32), torch.tensor([3, 700, 3, 250])
    together = Simplex(16)(like, generators(4), t)
    alone = Simplex(16)(like[:1], generators(4)[2:3], t[2:3])
    assert torch.allclose(together[2:3], alone, atol=1e-6)
    assert not torch.allclose(together[0], together[2])
    assert not torch.allclose(together[:, 0], together[:, 1])
    later = Simplex(16)(like[:1], generators(4)[2:3], t[1:2])
    assert not torch.allclose(later, alone)


def test_neighbouring_steps_are_alike_at_low_frequency_only() -> None:
    permutation = table()

    def likeness(frequency: float) -> float:
        pair = torch.stack([plane(permutation, 64, 64, frequency, z).flatten() for z in (100, 101)])
        return float(torch.corrcoef(pair)[0, 1])

    assert likeness(32.0) > 0.95
    assert likeness(1.0) < 0.5


def test_octaves_halve_the_wavelength() -> None:
    def centre(frequency: float) -> float:
        fields = plane(torch.cat([table(seed) for seed in range(8)]), 128, 128, frequency, 50)
        power = torch.fft.fft2(fields - fields.mean(dim=(1, 2), keepdim=True)).abs().square().mean(0)
        axis = torch.fft.fftfreq(128)
        radius = (axis[:, None] ** 2 + axis**2).sqrt()
        return float((radius * power).sum() / power.sum())

    assert centre(8.0) / centre(16.0) == pytest.approx(2, rel=0.1)
    assert centre(4.0) / centre(8.0) == pytest.approx(2, rel=0.1)


def test_frequency_is_scaled_with_the_image_and_must_be_a_power_of_two() -> None:
    assert Simplex.scaled(ImageSpec(1, 256, 256)).frequency == 64
    assert Simplex.scaled(ImageSpec(1, 64, 96)).frequency == 16
    with pytest.raises(UserError, match="power of two"):
        Simplex(frequency=20)
