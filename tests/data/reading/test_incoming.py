"""What is found in a folder: every image under a name of its own, files about images counted, links named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest

from tests.support.dicom_data import PIXELS, frame
from tests.support.folder_data import SIZE, picture, put, series
from uadbench.core.errors import DataError
from uadbench.data.reading.dicom import read_dicom_frame, read_series
from uadbench.data.reading.folder import files, visible
from uadbench.data.reading.incoming import find_incoming, look_into

GREY = np.zeros(PIXELS, np.uint8)


def film(path: Path, frames: int = 1, modality: str = "US") -> Path:
    """A DICOM file of frames."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data = frame(path, np.repeat(GREY[None], frames, 0) if frames > 1 else GREY, modality=modality)
    if frames > 1:
        data.NumberOfFrames = frames
    data.save_as(path, enforce_file_format=True)
    return path


def names(root: Path) -> dict[str, str]:
    return {one.name: one.first.name for one in find_incoming(root)}


def test_images_of_one_stem_keep_their_full_names(tmp_path: Path) -> None:
    film(tmp_path / "in" / "a.dcm")
    for name in ("a.png", "b.png", "b.tif", "c.png"):
        put(tmp_path / "in" / name, picture(0)[0])
    assert names(tmp_path / "in") == {
        "a.dcm": "a.dcm",
        "a.png": "a.png",
        "b.png": "b.png",
        "b.tif": "b.tif",
        "c": "c.png",
    }


def test_a_full_name_that_is_a_stem_too_is_told_apart(tmp_path: Path) -> None:
    for name in ("a.png", "a.tif", "a.png.png"):
        put(tmp_path / "in" / name, picture(0)[0])
    assert names(tmp_path / "in") == {name: name for name in ("a.png", "a.tif", "a.png.png")}


def test_a_frame_of_a_film_and_a_picture_called_like_it_have_two_names(tmp_path: Path) -> None:
    film(tmp_path / "in" / "a.dcm", frames=2)
    put(tmp_path / "in" / "a-0001.png", picture(0)[0])
    assert names(tmp_path / "in") == {"a-0000": "a.dcm", "a.dcm-0001": "a.dcm", "a-0001.png": "a-0001.png"}


def test_a_picture_called_like_the_folder_of_a_series_has_another_name(tmp_path: Path) -> None:
    series(tmp_path / "in" / "p1")
    put(tmp_path / "in" / "p1.png", picture(0)[0])
    assert len(names(tmp_path / "in")) == len(find_incoming(tmp_path / "in")) == 2


@pytest.mark.parametrize("modality", ["SEG", "SR", "PR"])
def test_files_about_images_are_counted_and_are_no_images(tmp_path: Path, modality: str) -> None:
    series(tmp_path / "in" / "p1")
    film(tmp_path / "in" / "p1" / "about.dcm", modality=modality)
    (tmp_path / "in" / "notes.txt").write_text("none")
    found, passed = look_into(tmp_path / "in")
    assert [(one.name, len(one.files)) for one in found] == [("p1", 5)]
    assert passed == {"DICOM without an image": 1, ".txt": 1}
    with pytest.raises(DataError, match=r"about\.dcm holds no image"):
        find_incoming(tmp_path / "in" / "p1" / "about.dcm")


def _edited(path: Path, **values: object) -> Path:
    data = pydicom.dcmread(path)
    for name, value in values.items():
        setattr(data, name, value)
    data.save_as(path)
    return path


@pytest.mark.parametrize("frames", ["-3", "200000"])
def test_a_damaged_number_of_frames_costs_none_of_the_others(tmp_path: Path, frames: str) -> None:
    film(tmp_path / "in" / "good.dcm")
    for name in ("bad.dcm", "worse.dcm"):
        _edited(film(tmp_path / "in" / name), NumberOfFrames=frames)
    found = find_incoming(tmp_path / "in")
    assert [(one.name, one.shape) for one in found] == [("bad", "volume"), ("good", "frame"), ("worse", "volume")]
    with pytest.raises(DataError, match=r"bad\.dcm has a header of"):
        read_series(tmp_path / "in", found[0].files)


def test_a_number_of_frames_that_is_none_is_named(tmp_path: Path) -> None:
    file = film(tmp_path / "in" / "bad.dcm", frames=2)
    told, damaged = b"\x28\x00\x08\x00IS\x02\x002 ", b"\x28\x00\x08\x00IS\x02\x00xy"
    assert told in file.read_bytes()
    file.write_bytes(file.read_bytes().replace(told, damaged))
    (found,) = find_incoming(tmp_path / "in")
    with pytest.raises(DataError, match=r"bad\.dcm is not a readable DICOM file"):
        read_series(tmp_path / "in", found.files)


def test_one_value_of_pixel_spacing_is_unknown_for_a_frame_and_an_error_for_a_slice(tmp_path: Path) -> None:
    file = film(tmp_path / "a.dcm")
    assert read_dicom_frame(_edited(file, PixelSpacing=[0.5, 0.25])).spacing == (0.5, 0.25)
    assert read_dicom_frame(_edited(file, PixelSpacing=0.5)).spacing is None
    slices = sorted(series(tmp_path / "p1").iterdir())
    _edited(slices[1], PixelSpacing=0.5)
    with pytest.raises(DataError, match=r"1\.dcm has a damaged geometry"):
        read_series(tmp_path / "p1", slices)


LISTED: dict[str, Callable[[Path], list[Path]]] = {"visible": visible, "files": lambda root: files(root, "*.png")}


@pytest.mark.parametrize("how", LISTED)
def test_links_to_folders_and_to_nothing_are_named(tmp_path: Path, how: str) -> None:
    put(tmp_path / "in" / "sub" / "a.png", np.zeros(SIZE, np.uint8))
    link = tmp_path / "in" / "b.png"
    link.symlink_to(tmp_path / "in" / "sub" / "a.png")
    assert [file.name for file in LISTED[how](tmp_path / "in")] == ["b.png", "a.png"]
    link.unlink()
    for target, what in (("gone.png", "a missing file"), ("sub", "a folder")):
        link.symlink_to(tmp_path / "in" / target)
        with pytest.raises(DataError, match=rf"b\.png is a link to {what}") as caught:
            LISTED[how](tmp_path / "in")
        assert "remove it" in caught.value.remedy
        link.unlink()


def test_a_linked_folder_is_named_whatever_files_are_looked_for(tmp_path: Path) -> None:
    put(tmp_path / "in" / "a.png", np.zeros(SIZE, np.uint8))
    put(tmp_path / "far" / "b.png", np.zeros(SIZE, np.uint8))
    (tmp_path / "in" / "linked").symlink_to(tmp_path / "far")
    with pytest.raises(DataError, match="linked is a link to a folder"):
        files(tmp_path / "in", "*.png")
