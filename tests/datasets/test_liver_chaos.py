"""CHAOS: DICOM slices whose names count from the top down, masks that fit them by name, healthy donors alone."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from tests.datasets.test_liver_ct import abdomen, btcv, failed, lits, prepare
from uadbench.core.errors import DataError
from uadbench.core.roles import Role
from uadbench.datasets.liver_ct import chaos as reader
from uadbench.datasets.liver_ct.layouts import find

PATIENTS = (1, 2, 5, 6, 8, 10, 14)


def write_slice(path: Path, hu: np.ndarray, z: float, number: int) -> None:
    """Writes a slice as CHAOS has them: a series identifier of its own, 16 bits with an offset."""
    path.parent.mkdir(parents=True, exist_ok=True)
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = CTImageStorage, generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    data.SOPClassUID, data.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
    data.SeriesInstanceUID, data.StudyInstanceUID, data.Modality = generate_uid(), generate_uid(), "CT"
    data.PatientName, data.PatientID = "Donor^Kind", "MRN-0815"
    data.InstanceNumber, data.SliceThickness = number, 3.2
    data.Rows, data.Columns = hu.shape
    data.PixelSpacing = [3.0, 3.0]
    data.ImagePositionPatient, data.ImageOrientationPatient = [-90, -80, z], [1, 0, 0, 0, 1, 0]
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 16, 15, 1
    data.RescaleSlope, data.RescaleIntercept = 1, -1200
    data.PixelData = (hu + 1200).astype("<i2").tobytes()
    data.save_as(path, enforce_file_format=True)


def patient(folder: Path, number: int, style: str = "i{:04d},0000b") -> tuple[np.ndarray, np.ndarray]:
    """Writes one patient; returns HU and liver in RAS order, with more liver at the bottom than at the top."""
    hu, liver = abdomen(200 + number, tumour=False)
    z = np.arange(hu.shape[2])
    liver = liver * (np.arange(liver.shape[1])[None, :, None] < 50 - 3 * z)
    for k in z:
        name = len(z) - 1 - int(k)  # names count from the head down
        rows = hu[::-1, ::-1, k].T  # front to back, the patient's right to left
        write_slice(folder / "DICOM_anon" / f"{style.format(name)}.dcm", rows, 3.2 * float(k), name + 1)
        mask = Image.fromarray((255 * liver[::-1, ::-1, k].T).astype(np.uint8))
        (folder / "Ground").mkdir(exist_ok=True)
        mask.convert("1").save(folder / "Ground" / f"liver_GT_{name:03d}.png")
    return hu, liver


def chaos(root: Path, numbers: tuple[int, ...] = PATIENTS) -> Path:
    for number in numbers:
        style = "i{:04d},0000b" if number < 10 else "IMG-0004-{:05d}"
        patient(root / "Train_Sets" / "CT" / str(number), number, style)
    patient(root / "Test_Sets" / "CT" / "3", 3)
    shutil.rmtree(root / "Test_Sets" / "CT" / "3" / "Ground")
    shutil.copytree(
        root / "Train_Sets" / "CT" / str(numbers[0]) / "DICOM_anon", root / "Train_Sets/MR/1/T2SPIR/DICOM_anon"
    )
    return root


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
        ("inverted", "of other slices"),
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
