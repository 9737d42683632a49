"""Masks with labels: what is drawn in white, in one bit or as JPEG never turns a lesion into healthy tissue."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.support.folder_data import SIZE, put
from uadbench.core.errors import DataError
from uadbench.data.reading.masks import read_drawn_mask, read_mask

DRAWN = np.zeros(SIZE, np.uint8)
DRAWN[8:16, 8:16] = 1


@pytest.mark.parametrize("white", [255, 65535])
def test_labels_that_a_white_mask_does_not_hold_are_refused(tmp_path: Path, white: int) -> None:
    file = put(tmp_path / "a.png", DRAWN.astype(np.uint8 if white == 255 else np.uint16) * white)
    with pytest.raises(DataError, match=rf"a\.png holds the values 0 and {white}, none of the labels 1") as caught:
        read_mask(file, SIZE, (1,))
    assert caught.value.remedy == f"Use --set lesion={white}."
    np.testing.assert_array_equal(read_mask(file, SIZE, (white,)), DRAWN > 0)


def test_a_white_mask_in_three_channels_is_one(tmp_path: Path) -> None:
    file = put(tmp_path / "a.png", np.stack([255 * DRAWN] * 3, -1))
    with pytest.raises(DataError, match="0 and 255"):
        read_mask(file, SIZE, (1,))


def test_a_mask_of_one_bit_holds_the_label_1(tmp_path: Path) -> None:
    Image.fromarray(DRAWN > 0).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "a.png", SIZE, (1,)), DRAWN > 0)
    with pytest.raises(DataError, match="0 and 1, none of the labels 2"):
        read_mask(tmp_path / "a.png", SIZE, (2,))


def test_a_mask_without_the_lesion_label_is_healthy(tmp_path: Path) -> None:
    assert not read_mask(put(tmp_path / "organ.png", DRAWN), SIZE, (2,)).any()
    assert not read_mask(put(tmp_path / "black.png", 0 * DRAWN), SIZE, (2,)).any()


def test_a_jpeg_of_0_and_1_is_refused_and_one_of_0_and_255_is_not(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"dark\.jpg is a JPEG with no value of at least half") as caught:
        read_mask(put(tmp_path / "dark.jpg", 60 * DRAWN), SIZE)
    assert caught.value.remedy == "Binarise the mask."
    with pytest.raises(DataError, match="no value of at least half"):
        read_mask(put(tmp_path / "01.jpg", DRAWN), SIZE)
    white = read_drawn_mask(put(tmp_path / "white.jpg", 255 * DRAWN), SIZE)
    np.testing.assert_array_equal(white.inside, DRAWN > 0)
    assert white.note
    assert not read_mask(put(tmp_path / "black.jpg", 0 * DRAWN), SIZE).any()


@pytest.mark.parametrize("white", [1, 255])
def test_labels_of_a_jpeg_are_refused(tmp_path: Path, white: int) -> None:
    with pytest.raises(DataError, match=r"a\.jpg is a JPEG, which changes the values of labels") as caught:
        read_mask(put(tmp_path / "a.jpg", white * DRAWN), SIZE, (1,))
    assert "PNG" in caught.value.remedy


def test_a_mask_of_fractions_holds_no_label(tmp_path: Path) -> None:
    values = DRAWN.astype(np.float32) * 0.5
    values[0, 0] = np.nan
    np.save(tmp_path / "a.npy", values)
    assert not read_mask(tmp_path / "a.npy", SIZE, (1,)).any()
