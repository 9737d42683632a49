"""CHAOS: DICOM slices whose names count from the top down, masks that fit them by name, healthy donors alone."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.support.chaos_data import PATIENTS, chaos, patient
from tests.support.liver_data import btcv, failed, lits, prepare
from uadbench.core.errors import DataError
from uadbench.core.roles import Role
from uadbench.datasets.liver_ct import chaos as reader
from uadbench.datasets.liver_ct.layouts import find


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return chaos(tmp_path_factory.mktemp("chaos"))


@pytest.mark.parametrize("style", ["i{:04d},0000b", "IMG-0004-{:05d}", "{}"])
def test_slices_lie_where_their_headers_say_and_masks_on_their_slices(tmp_path: Path, style: str) -> None:
    hu, liver = patient(tmp_path / "1", 1, style)
    volume, labels = reader.read(tmp_path / "1" / "DICOM_anon", tmp_path / "1" / "Ground")
    np.testing.assert_array_equal(volume.data, hu)
    np.testing.assert_array_equal(labels, liver)
    assert volume.spacing == pytest.approx((3, 3, 3.2))


def test_chaos_alone_is_healthy_and_not_ranked(raw: Path, tmp_path: Path) -> None:
    found, store = prepare(raw, tmp_path / "out")
    assert found == "CHAOS: 7 volumes"
    assert {item.role for item in store.items} == {Role.TRAIN, Role.CALIB, Role.TEST}
    assert {item.patient for item in store.items} == {f"chaos-{number:04d}" for number in PATIENTS}
    assert not store.manifest.ranked
    assert not any(item.lesion for item in store.items)
    assert failed(tmp_path / "out") == []
    text = (tmp_path / "out" / "manifest.json").read_text()
    assert "Donor" not in text
    assert "MRN" not in text
    inside = store.image(store.items[0])[0][store.body(store.items[0])]
    assert float(np.median(inside)) == pytest.approx(105 / 75 - 1, abs=0.05)
    again, _ = prepare(raw / "Train_Sets" / "CT", tmp_path / "again")
    assert again == found


def test_chaos_stands_beside_btcv_and_moves_none_of_its_patients(raw: Path, tmp_path: Path) -> None:
    both = tmp_path / "raw"
    shutil.copytree(raw, both / "CHAOS")
    btcv(both / "BTCV")
    lits(both / "LiTS", [0, 1, 2, 3, 4, 5])
    found, store = prepare(both, tmp_path / "out")
    assert found.startswith("LiTS with BTCV and CHAOS")
    assert {item.cohort for item in store.role(Role.TRAIN)} == {"btcv", "chaos"}
    assert {item.cohort for item in store.role(Role.TEST)} == {"lits", "btcv", "chaos"}
    alone = {case.name: case.role for case in [*find(both / "BTCV").cases, *find(both / "CHAOS").cases]}
    assert {item.case: item.role for item in store.items if item.cohort != "lits"} == alone
    assert failed(tmp_path / "out") == []


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("no Ground", "no folder Ground"),
        ("mask missing", "6 slices .* 5 masks"),
        ("inverted", "belongs to other slices"),
        ("other size", "has the shape"),
        ("slice missing", "missing slices"),
        ("truncated", "no readable"),
        ("twice", "same patient"),
    ],
)
def test_bad_files_are_named_and_nothing_is_left(tmp_path: Path, damage: str, message: str) -> None:
    raw = chaos(tmp_path / "raw", (1, 2))
    one = raw / "Train_Sets" / "CT" / "1"
    masks, slices = one / "Ground", one / "DICOM_anon"
    if damage == "no Ground":
        shutil.rmtree(masks)
    elif damage == "mask missing":
        (masks / "liver_GT_002.png").unlink()
    elif damage == "inverted":
        for path in sorted(masks.iterdir()):
            Image.fromarray(255 - np.asarray(Image.open(path).convert("L"))).save(path)
    elif damage == "other size":
        Image.new("L", (9, 9)).save(masks / "liver_GT_000.png")
    elif damage == "slice missing":
        (slices / "i0002,0000b.dcm").unlink()
        (masks / "liver_GT_002.png").unlink()
    elif damage == "truncated":
        path = slices / "i0001,0000b.dcm"
        path.write_bytes(path.read_bytes()[:-500])
    else:
        shutil.copytree(raw / "Train_Sets" / "CT" / "1", raw / "more" / "CT" / "1")
    with pytest.raises(DataError, match=message) as caught:
        prepare(raw, tmp_path / "out")
    assert str(raw) in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["raw"]
