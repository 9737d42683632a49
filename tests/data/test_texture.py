"""Curves that compare a phantom with real images say what they claim, on images whose answer is known."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from uadbench.data.simulation import texture
from uadbench.data.storage.store import Store

TOOL = Path(__file__).resolve().parents[2] / "tools" / "phantom_against_real.py"
ROWS, COLUMNS = np.mgrid[:96, :80]
DISC = (ROWS - 48) ** 2 + (COLUMNS - 40) ** 2 < 34**2
EDGES = np.linspace(0.02, 0.5, 9)


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("phantom_against_real", TOOL)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[module.__name__] = module  # dataclasses look their module up by name
    spec.loader.exec_module(module)
    return module


def white(seed: int, sd: float = 1.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, sd, DISC.shape)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 1000), st.floats(0.1, 3), st.sampled_from([0.5, 1.0, 2.0]), st.floats(-5, 5))
def test_white_noise_has_the_density_of_its_variance_at_every_frequency(
    seed: int, sd: float, pixel: float, level: float
) -> None:
    many = [texture.power(white(seed + k, sd) + level, DISC, (pixel, pixel), EDGES / pixel, soft=1.0) for k in range(6)]
    assert np.mean(many, 0) / (sd * pixel) ** 2 == pytest.approx(np.ones(len(EDGES) - 1), rel=0.3)


def test_a_smoothed_image_loses_high_frequencies_and_its_neighbours_correlate() -> None:
    rough, smooth = white(0), gaussian_filter(white(0), 1.5)
    lost = texture.power(smooth, DISC, (1, 1), EDGES) / texture.power(rough, DISC, (1, 1), EDGES)
    assert lost[0] > 20 * lost[-1]
    for axis in (0, 1):
        assert abs(texture.correlation(rough, DISC, 3, axis)[1:]).max() < 0.1
        assert texture.correlation(smooth, DISC, 3, axis)[1] > 0.8
    along = texture.correlation(gaussian_filter(white(1), (0, 2)), DISC, 1, 1)[1]
    across = texture.correlation(gaussian_filter(white(1), (0, 2)), DISC, 1, 0)[1]
    assert along > 0.8 > 0.2 > across


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.floats(-50, 50))
def test_what_lies_outside_the_body_counts_for_nothing(seed: int, outside: float) -> None:
    one, other = white(seed), np.where(DISC, white(seed), outside)
    np.testing.assert_allclose(texture.grain(one, DISC, 2), texture.grain(other, DISC, 2), atol=1e-9)
    np.testing.assert_allclose(texture.power(one, DISC, (1, 1), EDGES), texture.power(other, DISC, (1, 1), EDGES))
    np.testing.assert_allclose(texture.local_spread(one, DISC, 5), texture.local_spread(other, DISC, 5), atol=1e-6)


def test_local_spread_is_that_of_the_noise_and_shares_add_up() -> None:
    found = texture.local_spread(white(3, 0.2) + 1, DISC, 5)
    assert float(np.sqrt((found**2).mean())) == pytest.approx(0.2 * np.sqrt(24 / 25), rel=0.05)
    share = texture.shares(np.array([-9.0, 0.1, 0.1, 9.0]), np.linspace(-1, 1, 3))
    np.testing.assert_allclose(share, [0.25, 0.75])
    assert texture.shares(np.array([]), np.linspace(0, 1, 3)).sum() == 0


def test_the_tool_draws_curves_of_what_is_sound_at_one_pixel_size(
    tool: ModuleType, tiny_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tool, "BANDS", 6)  # images of 20 mm tell few frequencies apart
    store = Store(tiny_store)
    chosen = tool.choose(store, 20)
    assert [item.uid for item in tool.choose(store, 20)] == [item.uid for item in chosen]
    assert all((store.mask(item) == 1).mean() <= 0.02 for item in chosen)
    assert tool.common_pixel(chosen) == (0.5, "mm")
    native = [tool.plane(store, item, "mm") for item in chosen]
    sick = next((k for k, item in enumerate(chosen) if item.lesion), None)
    if sick is not None:
        assert not (native[sick].body & (store.mask(chosen[sick]) == 1)).any()
    coarse = [tool.resampled(each, 1.0) for each in native]
    assert coarse[0].image.shape == (20, 20)
    edges = np.linspace(0.05, 0.5, tool.BANDS + 1)
    both = [tool.measure(coarse, native, edges), tool.measure(coarse, native, edges)]
    assert tool.ratios(both) == {"low": 1.0, "middle": 1.0, "high": 1.0}
    figures = tool.summary(coarse, both[0])
    assert figures["images"] == len(chosen)
    assert figures["q05"] < figures["median"] < figures["q95"]
    svg = tool.draw(both, 1.0, "mm", edges)
    assert "cycles a mm" in svg
    assert "<image" not in svg  # curves, no picture of a patient
