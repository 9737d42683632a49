"""The scale of a volume does not feel a lesion."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from uadbench.core.errors import DataError
from uadbench.data.preprocessing.normalise import mr_scale, robust_location, window


def brain(rng: np.random.Generator, size: int = 20000) -> np.ndarray:
    """Intensities of white matter, grey matter and fluid in FLAIR proportions."""
    kinds = rng.choice(3, size=size, p=[0.45, 0.43, 0.12])
    return np.abs(np.array([88.0, 102.0, 30.0])[kinds] + rng.normal(0, 6, size) * np.array([1, 1, 3])[kinds])


@given(
    seed=st.integers(0, 1000),
    fraction=st.floats(0, 0.05),
    contrast=st.floats(1.4, 4),
    place=st.sampled_from(["anywhere", "white"]),
)
def test_lesion_of_five_percent_moves_the_scale_by_one_percent(
    seed: int, fraction: float, contrast: float, place: str
) -> None:
    rng = np.random.default_rng(seed)
    healthy = brain(rng)
    lesion = healthy.copy()
    where = np.arange(lesion.size) if place == "anywhere" else np.flatnonzero((healthy > 80) & (healthy < 95))
    chosen = rng.choice(where, size=int(fraction * lesion.size), replace=False)
    lesion[chosen] = contrast * 88
    assert robust_location(lesion) == pytest.approx(robust_location(healthy), rel=0.01)


@given(gain=st.floats(0.01, 100))
def test_gain_cancels(gain: float) -> None:
    values = brain(np.random.default_rng(0), 2000).reshape(10, 10, 20)
    body = np.ones(values.shape, dtype=bool)
    np.testing.assert_allclose(mr_scale(values * gain, body), mr_scale(values, body), atol=1e-5)


def test_constant_and_empty_images() -> None:
    assert robust_location(np.full(5, 3.0)) == 3.0
    with pytest.raises(DataError, match="no signal"):
        mr_scale(np.zeros((2, 2, 2)), np.ones((2, 2, 2), dtype=bool))
    with pytest.raises(DataError, match="no signal"):
        mr_scale(np.ones((2, 2, 2)), np.zeros((2, 2, 2), dtype=bool))


def test_window() -> None:
    np.testing.assert_allclose(window(np.array([-1000.0, 0, 75, 150, 3000]), 0, 150), [-1, -1, 0, 1, 1], atol=1e-6)
