"""Checks of a prepared store, and its contact sheet."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from scipy.ndimage import gaussian_filter

from uadbench.core.errors import DataError
from uadbench.core.roles import Role
from uadbench.data.storage.checks import auroc, check_store
from uadbench.data.storage.contact_sheet import lesion_sizes, write_contact_sheet
from uadbench.data.storage.store import Store, StoreWriter

SIZE = 32
ROLES = [Role.TRAIN] * 6 + [Role.CALIB] * 2 + [Role.TEST] * 12
Change = Callable[[int, np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


def unchanged(n: int, image: np.ndarray, body: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return image, body


def write(out: Path, change: Change = unchanged) -> Store:
    """One image a patient; every other test patient has a lesion of 4 x 4 pixels of 0.5 mm."""
    rows, columns = np.mgrid[:SIZE, :SIZE]
    disc = (rows - 16) ** 2 + (columns - 16) ** 2 < 14**2
    with StoreWriter(out, dataset="toy", version="1", source="phantom", recipe="r", notes=["<note>"]) as writer:
        for n, role in enumerate(ROLES):
            rng = np.random.default_rng(n)
            image = gaussian_filter(rng.standard_normal((SIZE, SIZE)), 1)
            image, body = change(n, np.clip(image, -1, 1), disc)
            mask = np.zeros((SIZE, SIZE), np.uint8)
            if role == Role.TEST and n % 2:
                mask[14:18, 14:18] = 1
            writer.add(
                uid=f"u{n}",
                case=f"u{n}",
                patient=f"p{n}",
                role=role,
                cohort="toy",
                image=image[None],
                body=body,
                mask=mask,
                spacing=(0.5, 0.5),
            )
    return Store(out)


def test_clean_store_says_nothing(tmp_path: Path) -> None:
    assert check_store(write(tmp_path / "s")) == []


def test_patients_are_counted_against_the_card(tmp_path: Path) -> None:
    store = write(tmp_path / "s")
    assert check_store(store, {"toy": 20, "other": 7}) == []
    assert check_store(store, {"toy": 21}) == ["toy: 20 of 21 patients."]
    (more,) = check_store(store, {"toy": 19})
    assert "20 of 19 patients: more than published" in more


@pytest.mark.parametrize("noise", [0.0, 0.01])
def test_near_duplicate_across_roles_is_refused(tmp_path: Path, noise: float) -> None:
    first: list[np.ndarray] = []

    def copied(n: int, image: np.ndarray, body: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        first.append(image)
        # the last test patient is the first of train, a little noisier and brighter
        return (image if n < 19 else first[0] * 0.9 + noise * image, body)

    with pytest.raises(DataError, match=r"u0 \(train\) +u19 \(test\) +r = "):
        check_store(write(tmp_path / "s", copied))


def test_lesion_outside_the_body_is_refused(tmp_path: Path) -> None:
    def small(n: int, image: np.ndarray, body: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        rows = np.arange(SIZE)[:, None] + np.zeros((1, SIZE))
        return image, body & (rows < 15)

    with pytest.raises(DataError, match="12 of 16 lesion pixels lie outside the body"):
        check_store(write(tmp_path / "s", small))


def test_area_that_predicts_the_label_is_told(tmp_path: Path) -> None:
    def by_label(n: int, image: np.ndarray, body: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        rows = np.arange(SIZE)[:, None] + np.zeros((1, SIZE))
        return image, body & (rows < (31 if n % 2 else 25))

    told = check_store(write(tmp_path / "s", by_label))
    assert any("Body area alone" in line and "1.00" in line for line in told)


def test_shift_between_healthy_cohorts_is_told(tmp_path: Path) -> None:
    def brighter(n: int, image: np.ndarray, body: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return np.clip(image + 0.5 * (ROLES[n] == Role.TEST), -1, 1), body

    told = check_store(write(tmp_path / "s", brighter))
    assert len(told) == 1
    assert "Healthy images of test differ" in told[0]
    assert "mean" in told[0]


@given(
    positive=st.lists(st.integers(0, 5), min_size=1, max_size=20),
    negative=st.lists(st.integers(0, 5), min_size=1, max_size=20),
)
def test_auroc_counts_pairs(positive: list[int], negative: list[int]) -> None:
    pairs = [(p > n) + 0.5 * (p == n) for p in positive for n in negative]
    assert auroc(positive, negative) == pytest.approx(np.mean(pairs))


def test_contact_sheet(tmp_path: Path) -> None:
    store = write(tmp_path / "s")
    picture, page = write_contact_sheet(store, tmp_path / "sheet", ["a & b"])
    with Image.open(picture) as image:
        assert min(image.size) > 300
        assert np.asarray(image.convert("L")).std() > 10
    text = page.read_text()
    assert "a &amp; b" in text
    assert "&lt;note&gt;" in text
    assert "<td>test</td><td>12</td><td>12</td><td>6</td>" in text
    assert picture.name in text
    before = picture.read_bytes()
    write_contact_sheet(store, tmp_path / "sheet", ["a & b"])
    assert picture.read_bytes() == before


def test_lesion_sizes_are_in_square_millimetres(tmp_path: Path) -> None:
    sizes, unit = lesion_sizes(write(tmp_path / "s"))
    assert unit == "mm²"
    np.testing.assert_allclose(sizes, [4.0] * 6)
