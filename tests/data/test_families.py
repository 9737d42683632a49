"""Synthetic lesions: every family changes its region alone, the mixture is balanced and always the same."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage

from uadbench.core.roles import Role
from uadbench.data.simulation.families import FAMILIES, Material, organic_region
from uadbench.data.simulation.mixture import SyntheticLesions
from uadbench.data.storage.store import Store

SHAPE = (48, 56)


def grain(seed: int, width: float = 1.5) -> NDArray[np.float32]:
    """Smooth random texture in about [-0.6, 0.6], (1, h, w)."""
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=SHAPE), width)
    return (0.2 * noise / noise.std())[None].clip(-0.6, 0.6).astype(np.float32)


def material(seed: int, signs: tuple[int, ...] = (-1, 1)) -> Material:
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    body = (y - 24) ** 2 / 22**2 + (x - 28) ** 2 / 26**2 < 1
    return Material(grain(seed), body, grain(seed + 10_000, 3.0), signs, np.random.default_rng(seed))


@pytest.mark.parametrize("name", sorted(FAMILIES))
@given(seed=st.integers(0, 5000))
@settings(max_examples=15, deadline=None)
def test_a_family_changes_its_region_inside_the_body_and_nothing_else(name: str, seed: int) -> None:
    given_ = material(seed)
    image, region = FAMILIES[name](given_)
    assert image.shape == given_.image.shape
    assert image.dtype == np.float32
    assert np.isfinite(image).all()
    assert region.sum() >= 4
    assert not (region & ~given_.body).any()
    np.testing.assert_array_equal(image[0][~region], given_.image[0][~region])
    assert np.abs(image).max() <= 1


@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_a_family_changes_something_and_is_the_same_for_a_seed(name: str) -> None:
    changed = 0
    for seed in range(20):
        image, region = FAMILIES[name](material(seed))
        again, _ = FAMILIES[name](material(seed))
        np.testing.assert_array_equal(image, again)
        changed += bool(np.abs(image - material(seed).image)[0][region].max() > 0.01)
    assert changed >= 18


@pytest.mark.parametrize("sign", [-1, 1])
def test_a_shift_has_the_told_sign_and_a_soft_edge(sign: int) -> None:
    for seed in range(20):
        given_ = material(seed, (sign,))
        image, region = FAMILIES["shift"](given_)
        difference = (image - given_.image)[0]
        assert (sign * difference >= -1e-6).all()
        rim = region & ndimage.binary_dilation(~region)
        if (region & ~rim).sum() > 20:
            assert abs(difference[rim].mean()) < abs(difference[region & ~rim].mean())


def test_poisson_keeps_the_border_and_foreign_gradients() -> None:
    """Solved against the definition: inside, the Laplacian is the foreign one."""
    given_ = material(3)
    flat = Material(
        given_.image, np.ones(SHAPE, bool), given_.foreign * np.float32(0.2), (1,), np.random.default_rng(5)
    )
    image, region = FAMILIES["poisson"](flat)
    inner = ndimage.binary_erosion(region, border_value=0) & ndimage.binary_erosion(np.ones(SHAPE, bool))
    assert inner.sum() > 5
    ours, theirs = ndimage.laplace(image[0]), ndimage.laplace(flat.foreign[0])
    np.testing.assert_allclose(ours[inner], theirs[inner], atol=1e-4)


def test_texture_keeps_the_local_mean_and_changes_the_grain() -> None:
    ratios: list[float] = []
    for seed in range(30):
        given_ = material(seed)
        image, region = FAMILIES["texture"](given_)
        if region.sum() > 200:
            assert abs(image[0][region].mean() - given_.image[0][region].mean()) < 0.1
            high = [plane - ndimage.gaussian_filter(plane, 2) for plane in (image[0], given_.image[0])]
            ratios.append(float(high[0][region].std() / high[1][region].std()))
    assert min(ratios) < 0.8
    assert max(ratios) > 1.3


def test_regions_have_many_scales_and_no_holes() -> None:
    body = np.ones((128, 128), bool)
    areas: list[int] = []
    for seed in range(60):
        region, _ = organic_region(body, np.random.default_rng(seed))
        assert (ndimage.binary_fill_holes(region) == region).all()
        assert ndimage.label(region)[1] == 1
        areas.append(int(region.sum()))
    assert max(areas) > 30 * min(areas)


@pytest.fixture(scope="module")
def store(tiny_store: Path) -> Store:
    return Store(tiny_store)


def test_the_mixture_is_balanced_does_not_depend_on_order_and_reads_like_a_store(store: Store) -> None:
    items = store.role(Role.CALIB)
    lesions, turned = SyntheticLesions(store, items), SyntheticLesions(store, items[::-1])
    counts = Counter(lesions.family.values())
    assert max(counts.values()) - min(counts.values()) <= 1
    assert lesions.family == turned.family
    for item in lesions.items:
        assert item.kind == f"synthetic {lesions.family[item.uid]}"
        mask = lesions.mask(item) == 1
        assert mask.any()
        assert not (mask & ~store.body(item)).any()
        np.testing.assert_array_equal(lesions.image(item)[0][~mask], store.image(item)[0][~mask])
        np.testing.assert_array_equal(lesions.image(item), turned.image(item))


def test_one_family_alone_can_be_had(store: Store) -> None:
    alone = SyntheticLesions(store, store.role(Role.CALIB), only="shift")
    assert set(alone.family.values()) == {"shift"}
