"""Masks of a region: each image has one if masks are given, and labels select it in 2-D masks as in volumes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.support.folder_data import SIZE, picture, put, series
from uadbench.core.errors import DataError
from uadbench.data.preprocessing.intake import Intake
from uadbench.data.reading.incoming import find_incoming, read_new_volume
from uadbench.data.reading.region import Regions
from uadbench.datasets.folder.dataset import Folder
from uadbench.inference.new_planes import ScaleOfTraining, read_planes

HALF = np.zeros(SIZE, np.uint8)
HALF[:, :18] = 1
FRAME = np.zeros((1, *SIZE), np.float32)


def test_an_image_without_a_mask_is_refused_if_masks_are_given(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        put(tmp_path / "in" / name, picture(0)[0])
    put(tmp_path / "roi" / "a.png", 255 * HALF)
    scale, regions = ScaleOfTraining(Folder(), "strict", Intake(), 1), Regions(tmp_path / "roi")
    found, masks = regions.find(find_incoming(tmp_path / "in"), "")
    np.testing.assert_array_equal(read_planes(scale, found[0], regions, masks["a"]).bodies[0], HALF > 0)
    with pytest.raises(DataError, match=r"b\.png has no mask in .*roi") as caught:
        read_planes(scale, found[1], regions, masks.get("b"))
    assert caught.value.remedy == "Call it b.png or b_roi.png."
    series(tmp_path / "series" / "p1")
    assert "p1.nii.gz or p1_roi.nii.gz" in regions.missing(find_incoming(tmp_path / "series")[0]).remedy


@pytest.mark.parametrize(("value", "labels"), [(3, (3,)), (3, (2, 3)), (255, (255,)), (255, ())])
def test_labels_select_the_region_of_a_frame(tmp_path: Path, value: int, labels: tuple[int, ...]) -> None:
    region = Regions(tmp_path, labels).of_frame(put(tmp_path / "a.png", value * HALF), FRAME)
    np.testing.assert_array_equal(region, HALF > 0)


def test_several_labels_of_a_frame_need_a_choice(tmp_path: Path) -> None:
    plane = HALF.copy()
    plane[:, 18:24] = 2
    file = put(tmp_path / "a.png", plane)
    np.testing.assert_array_equal(Regions(tmp_path, (2,)).of_frame(file, FRAME), plane == 2)
    with pytest.raises(DataError, match="holds the values 0, 1, 2") as caught:
        Regions(tmp_path).of_frame(file, FRAME)
    assert "--roi-label 2 --roi-label 3" in caught.value.remedy
    assert "lesion" not in caught.value.remedy


@pytest.mark.parametrize(
    ("value", "message", "remedy"),
    [(3, "marks no region (labels [1])", "--roi-label"), (255, "holds the values 0 and 255", "Use --roi-label 255.")],
)
def test_a_label_that_a_mask_lacks_is_said(tmp_path: Path, value: int, message: str, remedy: str) -> None:
    with pytest.raises(DataError) as caught:
        Regions(tmp_path, (1,)).of_frame(put(tmp_path / "a.png", value * HALF), FRAME)
    assert message in caught.value.message
    assert remedy in caught.value.remedy


def _drawn(folder: Path, plane: NDArray[np.uint8]) -> Path:
    for z in range(5):
        put(folder / f"{z}.png", plane)
    return folder


def test_labels_select_the_region_of_a_series_drawn_slice_by_slice(tmp_path: Path) -> None:
    (found,) = find_incoming(series(tmp_path / "p1"))
    volume, drawn = read_new_volume(found), _drawn(tmp_path / "drawn", 3 * HALF)
    region = Regions(drawn, (3,)).of_volume(drawn, found, volume)
    assert region.shape == volume.data.shape
    assert region.mean() == 0.5
    with pytest.raises(DataError, match="marks no region"):
        Regions(drawn, (1,)).of_volume(drawn, found, volume)
