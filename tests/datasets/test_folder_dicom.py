"""``prepare folder`` on DICOM: frames and volumes of every kind are read, or named with what they lack."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.encaps import encapsulate
from pydicom.uid import JPEGLosslessSV1

from tests.support.dicom_data import enhanced, frame
from tests.support.folder_data import picture, series
from uadbench.core.dataset import no_progress
from uadbench.core.errors import DataError
from uadbench.data.storage.store import Store
from uadbench.datasets.folder import Folder


def prepare(source: Path, out: Path, **options: Any) -> Store:
    Folder(**options).prepare(source, out, "strict", 1, no_progress)
    return Store(out)


def frames(raw: Path, white: int, modality: str = "US") -> Path:
    """Five frames in a flat folder, as scanners export them."""
    (raw / "normal").mkdir(parents=True)
    for n in range(5):
        pixels = picture(n)[0] if white == 2 else 255 - picture(n)[0]
        file = raw / "normal" / f"us{n}.dcm"
        frame(file, pixels, modality=modality, white=white).save_as(file, enforce_file_format=True)
    return raw


@pytest.mark.parametrize("modality", ["US", "DX", "MG", "CR"])
def test_frames_are_read_and_what_is_white_does_not_matter(tmp_path: Path, modality: str) -> None:
    two = prepare(frames(tmp_path / "two", 2, modality), tmp_path / "a")
    one = prepare(frames(tmp_path / "one", 1, modality), tmp_path / "b")
    assert len(two.items) == 5
    assert two.manifest.modality == ("us" if modality == "US" else "")
    for ours, theirs in zip(two.items, one.items, strict=True):
        np.testing.assert_array_equal(two.image(ours), one.image(theirs))


def test_a_film_is_as_many_images_as_it_has_frames(tmp_path: Path) -> None:
    (tmp_path / "raw" / "normal").mkdir(parents=True)
    for n in range(3):
        pixels = np.stack([picture(10 * n + k)[0] for k in range(4)])
        file = tmp_path / "raw" / "normal" / f"film{n}.dcm"
        data = frame(file, pixels)
        data.NumberOfFrames, data.PatientID = 4, f"p{n}"
        data.save_as(file, enforce_file_format=True)
    store = prepare(tmp_path / "raw", tmp_path / "out")
    assert (len(store.items), len({item.patient for item in store.items})) == (12, 3)


def test_enhanced_ct_is_a_volume_a_file(tmp_path: Path) -> None:
    for n in range(3):
        folder = tmp_path / "raw" / "normal" / f"P{n}"
        folder.mkdir(parents=True)
        pixels = np.random.default_rng(n).integers(1000, 1100, (4, 24, 20)).astype(np.uint16)
        enhanced(folder / "vol.dcm", pixels, [(1, -1024)])
    store = prepare(tmp_path / "raw", tmp_path / "out")
    assert (len(store.items), store.manifest.modality) == (12, "ct")
    assert {(item.spacing, item.thickness) for item in store.items} == {((2.0, 2.0), 5.0)}


def _lossless(data: pydicom.Dataset) -> None:
    data.file_meta.TransferSyntaxUID = JPEGLosslessSV1
    data.PixelData = encapsulate([b"\xff\xd8\xff\xc3\x00\x0b"])
    data["PixelData"].is_undefined_length = True
    data["PixelData"].VR = "OB"


def _no_rescale(data: pydicom.Dataset) -> None:
    del data.RescaleSlope, data.RescaleIntercept


def _without(name: str) -> Callable[[pydicom.Dataset], None]:
    return lambda data: setattr(data, name, None)


FAULTS = {
    "rescale": (_no_rescale, "is CT without Hounsfield units: RescaleSlope is missing or empty"),
    "intercept": (_without("RescaleIntercept"), "RescaleIntercept is missing or empty"),
    "orientation": (_without("ImageOrientationPatient"), "lacks ImageOrientationPatient"),
    "lossless": (_lossless, "is compressed as JPEG Lossless"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_every_series_that_cannot_be_used_is_named_and_may_be_skipped(
    tmp_path: Path, fault: str, capfd: pytest.CaptureFixture[str]
) -> None:
    change, what = FAULTS[fault]
    for n in range(5):
        for file in series(tmp_path / "raw" / "normal" / f"P{n}").iterdir():
            data = pydicom.dcmread(file)
            data.PatientID = f"P{n}"
            if n in (1, 3):
                change(data)
            data.save_as(file)
    with pytest.raises(DataError, match="2 files cannot be used") as caught:
        prepare(tmp_path / "raw", tmp_path / "out")
    assert str(caught.value).count(what) == 2
    assert "/P1/" in str(caught.value)
    assert "/P3/" in str(caught.value)
    assert not (tmp_path / "out").exists()
    store = prepare(tmp_path / "raw", tmp_path / "out", skip_bad=True)
    assert len({item.patient for item in store.items}) == 3


def test_files_about_images_beside_a_series_are_counted_and_not_read(tmp_path: Path) -> None:
    for n in range(3):
        folder = series(tmp_path / "raw" / "normal" / f"P{n}")
        for modality in ("SEG", "SR"):
            about = frame(folder / f"{modality}.dcm", picture(n)[0], modality=modality)
            about.save_as(folder / f"{modality}.dcm", enforce_file_format=True)
    store = prepare(tmp_path / "raw", tmp_path / "out")
    assert (len(store.items), len({item.case for item in store.items})) == (15, 3)
    (note,) = [note for note in store.manifest.notes if note.startswith("Found and not used")]
    assert "2 .dcm in normal/P0/" in note
