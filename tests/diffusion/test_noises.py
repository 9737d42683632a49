from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from uadbench.diffusion.blur import gaussian_blur, kernel_blur
from uadbench.diffusion.noises import Coarse, Gaussian, Noise, Pyramid, Synomaly, disc


def generators(count: int, seed: int = 0) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed * 10_000 + i) for i in range(count)]


def draw(noise: Noise, count: int, side: int = 32, channels: int = 1, seed: int = 0) -> torch.Tensor:
    t = torch.full((count,), 100)
    return noise(torch.zeros(count, channels, side, side), generators(count, seed), t)


@pytest.mark.parametrize("shape", [(40, 52), (2, 130, 97)])
@pytest.mark.parametrize("sigma", [0.8, 1.5, 3.0, 7.0, 11.0])
def test_blur_equals_scipy_with_a_mirrored_border(sigma: float, shape: tuple[int, ...]) -> None:
    image = torch.randn(*shape, generator=generators(1)[0])
    radius = (round(8 * sigma + 1) | 1) // 2
    wanted = ndimage.gaussian_filter(image.double().numpy(), sigma, mode="mirror", radius=radius, axes=(-2, -1))
    assert np.abs(gaussian_blur(image, sigma).numpy() - wanted).max() < 1e-5
    if sigma * 8 % 2 == 0:
        default = ndimage.gaussian_filter(image.double().numpy(), sigma, mode="mirror", truncate=4, axes=(-2, -1))
        assert np.abs(gaussian_blur(image, sigma).numpy() - default).max() < 1e-5


@pytest.mark.parametrize(("size", "centre"), [(1, 1.0), (3, 0.25), (5, 0.140625), (7, 0.0791015625)])
def test_small_kernels_are_the_binomial_like_tables(size: int, centre: float) -> None:
    image = torch.zeros(21, 21)
    image[10, 10] = 1
    blurred = kernel_blur(image, size)
    assert blurred.sum() == pytest.approx(1, abs=1e-5)
    assert blurred[10, 10] == pytest.approx(centre, abs=1e-6)
    assert int((blurred > 0).sum()) == size**2


def test_a_kernel_wider_than_the_image_keeps_constants() -> None:
    assert torch.allclose(gaussian_blur(torch.full((9, 5), 3.0), 7.0), torch.tensor(3.0), atol=1e-5)


@pytest.mark.parametrize(("sigma", "threshold", "area", "margin"), [(3, 175, 10.3, 0.8), (7, 150, 30.5, 1.8)])
def test_blob_areas_are_those_of_the_published_code(sigma: float, threshold: float, area: float, margin: float) -> None:
    noise = Synomaly(sigma, threshold)
    plain = torch.randn(1000, 1, 128, 128, generator=generators(1)[0])
    assert float(noise.blobs(plain).float().mean()) * 100 == pytest.approx(area, abs=margin)


@pytest.mark.parametrize(
    ("offset", "directions", "low", "high"),
    [(0.5, (1,), 0.5, 1.5), (1.0, (-1,), -2.0, -1.0), (0.5, (-1, 1), -1.5, 1.5)],
)
def test_shift_is_one_number_an_image_within_the_published_range(
    offset: float, directions: tuple[int, ...], low: float, high: float
) -> None:
    count = 60
    shifted = draw(Synomaly(offset=offset, directions=directions), count, 64)
    plain = draw(Gaussian(), count, 64)
    blobs = Synomaly().blobs(plain)
    shifts: list[float] = []
    for difference, blob in zip(shifted - plain, blobs, strict=True):
        assert torch.all(difference[~blob] == 0)
        assert float(difference[blob].std()) < 1e-5
        shifts.append(float(difference[blob].mean()))
    assert low <= min(shifts) < low + 0.2
    assert high - 0.2 < max(shifts) <= high
    if len(directions) == 2:
        assert 0.25 < np.mean(np.array(shifts) > 0) < 0.75
        assert min(np.abs(shifts)) >= offset - 1e-5


def test_regions_of_interest_hold_all_blobs() -> None:
    plain = torch.randn(8, 2, 64, 64, generator=generators(1)[0])
    body = torch.zeros(8, 1, 64, 64, dtype=torch.bool)
    body[..., :20] = True
    assert not (Synomaly(roi="disc").blobs(plain, body) & ~disc(64, 64)).any()
    inside = Synomaly(roi="body").blobs(plain, body)
    assert inside.any()
    assert not (inside & ~body).any()
    assert float(disc(128, 128).sum()) == pytest.approx(np.pi * 58**2, rel=0.01)


@pytest.mark.parametrize("noise", [Gaussian(), Coarse(), Pyramid(), Synomaly()])
@pytest.mark.parametrize("channels", [1, 3])
def test_noise_of_an_image_ignores_its_companions(noise: Noise, channels: int) -> None:
    together = draw(noise, 5, 32, channels)
    alone = noise(torch.zeros(1, channels, 32, 32), [generators(5)[3]], torch.tensor([100]))
    assert torch.equal(together[3:4], alone)
    assert together.std() > 0.5


@pytest.mark.parametrize("noise", [Gaussian(), Coarse(), Pyramid()])
def test_noises_have_unit_variance(noise: Noise) -> None:
    sample = draw(noise, 64, 64)
    assert float(sample.std()) == pytest.approx(1, abs=0.03)


def test_coarse_noise_is_smooth_and_pyramid_noise_between() -> None:
    def roughness(noise: Noise) -> float:
        return float(draw(noise, 16, 64).diff(dim=-1).std())

    assert roughness(Coarse()) < roughness(Pyramid()) < roughness(Gaussian())


@settings(max_examples=20, deadline=None)
@given(st.floats(0.3, 8), st.integers(5, 40), st.integers(5, 40))
def test_blur_keeps_the_mean_of_a_constant_and_never_overshoots(sigma: float, height: int, width: int) -> None:
    image = torch.rand(height, width, generator=generators(1)[0])
    blurred = gaussian_blur(image, sigma)
    assert image.min() - 1e-5 <= blurred.min()
    assert blurred.max() <= image.max() + 1e-5
