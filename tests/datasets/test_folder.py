"""Anybody's data: tables, trees, formats, splits, and files that cannot be used."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.uid import generate_uid

from tests.support.folder_data import SIZE, listed, picture, prepare, put, series, table, two_folders
from uadbench.core.errors import DataError, UserError
from uadbench.core.roles import Role
from uadbench.datasets.folder import Folder
from uadbench.testing.dataset_checks import check_dataset


def test_there_is_no_phantom_and_the_remedy_is_named() -> None:
    with pytest.raises(UserError, match="--source"):
        Folder().phantom_key()


def test_two_folders_are_split_by_a_stated_seed_and_pass_the_kit(tmp_path: Path) -> None:
    store = prepare(two_folders(tmp_path / "raw"), tmp_path / "out")
    assert {item.role for item in store.items} == set(Role)
    assert any("seed 0" in note for note in store.manifest.notes)
    assert not store.manifest.ranked  # nobody says whose the pictures are
    assert any("no patients are known" in note for note in store.manifest.notes)
    assert [result for result in check_dataset(tmp_path / "out") if not result.passed] == []
    again = prepare(tmp_path / "raw", tmp_path / "again", workers=2)
    assert again.manifest.fingerprint == store.manifest.fingerprint


def test_a_table_cuts_calibration_off_by_patient_and_hides_names(tmp_path: Path) -> None:
    store = prepare(listed(tmp_path / "raw"), tmp_path / "out")
    assert {item.role for item in store.items} == {Role.TRAIN, Role.CALIB, Role.VAL, Role.TEST}
    assert any("1 of 3 training patients were cut off" in note for note in store.manifest.notes)
    assert all(store.body(item).sum() == 32 * 28 for item in store.items)
    assert len({item.case for item in store.items}) == 6  # the numbered slices of a patient are one case
    text = (tmp_path / "out" / "manifest.json").read_text()
    assert "Jane" not in text
    assert "images/" not in text


def test_five_roles_are_taken_as_written(tmp_path: Path) -> None:
    store = prepare(listed(tmp_path / "raw", ("train", "calib", "calib", "val", "test", "test")), tmp_path / "out")
    assert len({item.patient for item in store.role(Role.CALIB)}) == 2
    assert not any("cut off" in note for note in store.manifest.notes)


def test_sixteen_bit_png_and_float_tiff_keep_their_scale(tmp_path: Path) -> None:
    raw = two_folders(tmp_path / "raw", 4)
    wide = np.linspace(0, 65535, SIZE[0] * SIZE[1]).reshape(SIZE)
    Image.fromarray(wide.astype(np.uint16)).save(raw / "normal" / "n0.png")
    Image.fromarray((wide / 65535 / 2).astype(np.float32)).save(raw / "normal" / "n1.tif")
    (raw / "normal" / "n1.png").unlink()
    store = prepare(raw, tmp_path / "out")
    tops = sorted(float(store.image(item).max()) for item in store.items if not item.lesion)
    assert tops[0] == pytest.approx(0, abs=1e-3)
    assert tops[-1] == pytest.approx(1, abs=1e-3)


def test_grey_stored_as_colour_is_read(tmp_path: Path) -> None:
    raw = two_folders(tmp_path / "raw", 4)
    put(raw / "normal" / "n0.png", np.repeat(picture(0)[0][..., None], 3, 2))
    assert len(prepare(raw, tmp_path / "out").items) == 8


def test_nifti_volumes(tmp_path: Path) -> None:
    for n in range(3):
        for kind in ("normal", "abnormal"):
            data = np.zeros((30, 32, 4), np.float32)
            data[5:25, 5:27] = np.random.default_rng(n + 10 * (kind == "normal")).normal(100, 9, (20, 22, 4))
            mask = np.zeros(data.shape, np.uint8)
            mask[8:12, 9:14, 2] = kind == "abnormal"
            data += 70 * mask
            for part, array in ((kind, data), *((("masks", mask),) if mask.any() else ())):
                (tmp_path / "raw" / part).mkdir(parents=True, exist_ok=True)
                nib.Nifti1Image(array, np.diag([2.0, 2, 5, 1])).to_filename(tmp_path / "raw" / part / f"{n}.nii.gz")
    store = prepare(tmp_path / "raw", tmp_path / "out")
    assert len({item.case for item in store.items}) == 6
    assert sum(item.lesion for item in store.items) == 3
    assert store.items[0].thickness == 5


def test_a_dicom_series_is_one_volume_and_its_identifiers_stay_out(tmp_path: Path) -> None:
    for n in range(3):
        series(tmp_path / "raw" / "normal" / f"s{n}")
    store = prepare(tmp_path / "raw", tmp_path / "out")
    assert len({item.case for item in store.items}) == 3
    item = next(item for item in store.items if item.index == 4)
    assert item.spacing == pytest.approx((1.5, 2.0))
    assert item.thickness == pytest.approx(3)
    bright = np.argwhere(store.image(item)[0] > 0.5)
    # DICOM rows run to the back and columns to the patient's left: the picture is the stored one.
    np.testing.assert_array_equal(bright.min(0), [30, 28])
    first = pydicom.dcmread(tmp_path / "raw" / "normal" / "s0" / "0.dcm")
    for file in (tmp_path / "out").iterdir():
        content = file.read_bytes()
        for secret in ("Doe", "MRN-4711", "19700101", str(first.SeriesInstanceUID), str(first.SOPInstanceUID)):
            assert secret.encode() not in content


def test_mvtec_like_tree(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    for n in range(6):
        put(raw / "train" / "good" / f"{n}.png", picture(n)[0])
        put(raw / "test" / "good" / f"{n}.png", picture(50 + n)[0])
        image, mask = picture(70 + n, lesion=True)
        put(raw / "test" / "crack" / f"{n}.png", image)
        put(raw / "ground_truth" / "crack" / f"{n}_mask.png", 255 * mask.astype(np.uint8))
    store = prepare(raw, tmp_path / "out")
    assert sum(item.lesion for item in store.items) == 6
    assert [len(store.role(role)) for role in (Role.TRAIN, Role.CALIB, Role.TEST)] == [5, 1, 12]


def test_medianomaly_data_json(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    names: dict[str, dict[str, list[str]]] = {"train": {"0": []}, "test": {"0": [], "1": []}}
    for n in range(4):
        put(raw / "train" / f"t{n}_flair_1.png", picture(n)[0])
        put(raw / "test" / "normal" / f"h{n}_flair_1.png", picture(20 + n)[0])
        image, mask = picture(40 + n, lesion=True)
        put(raw / "test" / "tumor" / f"s{n}_flair_1.png", image)
        put(raw / "test" / "annotation" / f"s{n}_seg_1.png", 255 * mask.astype(np.uint8))
        for split, label, letter in (("train", "0", "t"), ("test", "0", "h"), ("test", "1", "s")):
            names[split][label].append(f"{letter}{n}_flair_1.png")
    (raw / "data.json").write_text(json.dumps(names))
    store = prepare(raw, tmp_path / "out")
    assert sum(item.lesion for item in store.role(Role.TEST)) == 4
    assert len(store.items) == 12


def _rewrite(raw: Path, column: str, value: str, line: int = 0) -> None:
    with (raw / "metadata.csv").open(newline="") as file:
        rows: list[dict[str, Any]] = list(csv.DictReader(file))
    rows[line][column] = value
    table(raw, rows)


TABLE_FAULTS = {
    "traversal": ("image", "../secret.png", "leaves the folder"),
    "absolute": ("mask", "/etc/hosts", "leaves the folder"),
    "missing": ("image", "images/none.png", "does not exist"),
    "double": ("image", "images/0-1.png", "twice"),
    "same slice": ("slice", "1", "same slice"),
    "two splits": ("split", "test", "in the splits"),
    "unknown split": ("split", "holdout", "unknown"),
    "half split": ("split", "", "has no split"),
    "unknown label": ("label", "maybe", "unknown"),
    "no patient": ("patient", "", "no patient"),
    "slice": ("slice", "first", "not a number"),
    "no mask": ("label", "abnormal", "abnormal"),
}


@pytest.mark.parametrize("fault", TABLE_FAULTS)
def test_a_bad_table_is_named_and_nothing_is_left(tmp_path: Path, fault: str) -> None:
    column, value, message = TABLE_FAULTS[fault]
    raw = listed(tmp_path / "raw")
    _rewrite(raw, column, value)
    with pytest.raises(DataError, match=message) as caught:
        prepare(raw, tmp_path / "out")
    assert any(name in str(caught.value) for name in ("metadata.csv", "images/", "secret.png", "hosts"))
    assert caught.value.remedy
    assert not [path for path in tmp_path.iterdir() if path.name.startswith((".", "out"))]


def _bomb(path: Path) -> None:
    """A PNG whose header says 60000 x 60000."""
    import struct
    import zlib

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 60000, 60000, 8, 0, 0, 0, 0))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b""))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("colour", "colour image"),
        ("truncated", "truncated"),
        ("text", "not an image"),
        ("constant", "constant"),
        ("nan", "NaN"),
        ("bomb", "too many pixels"),
        ("link", "leaves the folder"),
        ("mask shape", "has the shape"),
        ("soft mask", "Binarise"),
        ("empty mask", "is empty"),
        ("no mask", "has no mask"),
        ("missing slices", "missing slices"),
        ("mixed series", "mixes volumes and 2-D images"),
        ("double slice", "two slices at one position"),
        ("bad dicom", "not a readable DICOM"),
        ("empty", "holds no image"),
        ("out", "Cannot write"),
    ],
)
def test_a_bad_file_is_named_and_nothing_is_left(tmp_path: Path, damage: str, message: str) -> None:
    raw = two_folders(tmp_path / "raw", 3)
    image, mask, out = raw / "normal" / "n0.png", raw / "masks" / "a0.png", tmp_path / "out"
    named = "n0"
    if damage == "colour":
        put(image, np.random.default_rng(0).integers(0, 255, (*SIZE, 3)).astype(np.uint8))
    elif damage == "truncated":
        image.write_bytes(image.read_bytes()[:200])
    elif damage == "text":
        image.write_text("hello")
    elif damage == "constant":
        put(image, np.full(SIZE, 7, np.uint8))
    elif damage == "nan":
        image.unlink()
        Image.fromarray(np.full(SIZE, np.nan, np.float32)).save(image.with_suffix(".tif"))
    elif damage == "bomb":
        _bomb(image)
    elif damage == "link":
        image.unlink()
        image.symlink_to(put(tmp_path / "elsewhere.png", picture(1)[0]))
    elif damage == "mask shape":
        put(mask, np.zeros((9, 9), np.uint8))
        named = "a0"
    elif damage == "soft mask":
        put(mask, picture(1)[0])
        named = "a0"
    elif damage == "empty mask":
        put(mask, np.zeros(SIZE, np.uint8))
        named = "a0"
    elif damage == "no mask":
        mask.unlink()
        named = "a0"
    elif damage == "missing slices":
        (series(raw / "normal" / "n0") / "2.dcm").unlink()
    elif damage in ("mixed series", "double slice"):
        uid = generate_uid()
        series(raw / "normal" / "n0", uid=uid)
        series(raw / "normal" / "n0", uid=uid if damage == "double slice" else None, first=9)
    elif damage == "bad dicom":
        (series(raw / "normal" / "n0") / "2.dcm").write_text("hello")
    elif damage == "empty":
        raw = tmp_path / "none"
        raw.mkdir()
        named = "none"
    elif damage == "out":
        (tmp_path / "file").write_text("")
        out, named = tmp_path / "file" / "out", "file"
    with pytest.raises(DataError, match=message) as caught:
        prepare(raw, out)
    assert named in str(caught.value)
    assert caught.value.remedy
    assert not [path for path in tmp_path.iterdir() if path.name.startswith((".", "out"))]
