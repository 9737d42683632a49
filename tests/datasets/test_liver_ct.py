"""The liver phantom is what its parameters say; every layout is read from tiny files in its exact naming."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from tests.support.liver_data import SHAPE, abdomen, bmad, btcv, failed, lits, msd, prepare, save
from uadbench.core.errors import DataError
from uadbench.core.roles import Role
from uadbench.datasets.liver_ct import LiverCT, phantom
from uadbench.datasets.liver_ct.layouts import committed_split
from uadbench.datasets.liver_ct.scanner import quantum_noise


def test_patients_have_one_role_and_enough_are_tested() -> None:
    everyone = list(phantom.patients())
    assert len({patient.uid for patient in everyone}) == len(everyone) == LiverCT.card.patients["phantom"]
    assert {patient.role for patient in everyone} == set(Role)
    assert not [patient for patient in everyone if patient.kind and patient.role in (Role.TRAIN, Role.CALIB)]
    test = [patient for patient in everyone if patient.role == Role.TEST]
    assert sum(bool(patient.kind) for patient in test) >= 30
    assert sum(not patient.kind for patient in test) >= 10
    assert {patient.kind for patient in test} == {"", "hypodense", "rim"}
    assert {patient.phase for patient in everyone} == {"portal", "arterial", "native"}


def test_a_volume_is_the_same_twice_and_in_hounsfield_units() -> None:
    patient = phantom.draw_patient("portrait", Role.TEST, lesions=True)
    one, two = phantom.simulate(patient), phantom.simulate(patient)
    np.testing.assert_array_equal(one.hu, two.hu)
    assert one.mask.any()
    assert not (one.mask & ~one.liver).any()
    healthy = one.hu[one.liver & ~one.mask]
    assert abs(np.median(healthy) - patient.body.hu["liver"]) < 10
    assert one.hu[:, 0, 0].mean() == pytest.approx(-1000, abs=60)
    other = phantom.simulate(phantom.draw_patient("another", Role.TEST, lesions=True))
    assert (other.hu != one.hu).mean() > 0.9


def test_metastases_are_darker_than_the_liver_on_average() -> None:
    differences: list[float] = []
    for number in range(6):
        patient = phantom.draw_patient(f"contrast-{number}", Role.TEST, lesions=True)
        volume = phantom.simulate(patient)
        if volume.mask.sum() > 50:
            around = np.median(volume.hu[volume.liver & ~volume.mask])
            differences.append(float(volume.hu[volume.mask].mean() - around))
    assert np.mean(differences) < -10


def test_noise_is_strongest_in_the_middle_and_streaks_along_the_long_axis() -> None:
    y, x = np.indices((64, 64)) - 31.5
    hu = np.where((x / 28) ** 2 + (y / 16) ** 2 < 1, 40.0, -1000.0).astype(np.float32)
    noise = quantum_noise(
        np.repeat(hu[None], 24, 0),
        6.0,
        views=60,
        water_per_mm=0.02,
        photons=1e5,
        electronic=30,
        rng=np.random.default_rng(0),
    )
    spread = noise.std(axis=0)
    assert spread[28:36, 28:36].mean() > 1.2 * spread[28:36, 5:9].mean()
    middle = noise[:, 24:40, 16:48]
    along = np.corrcoef(middle[..., :-2].ravel(), middle[..., 2:].ravel())[0, 1]
    across = np.corrcoef(middle[:, :-2].ravel(), middle[:, 2:].ravel())[0, 1]
    assert along > across


def test_the_key_follows_the_parameters(monkeypatch: pytest.MonkeyPatch) -> None:
    before = LiverCT().phantom_key()
    monkeypatch.setitem(phantom.PARAMETERS, "window", {"low": 0, "high": 151})
    assert LiverCT().phantom_key() != before


# --- layouts ----------------------------------------------------------------------------------------------------


def test_lits_has_healthy_slices_to_train_on_and_tumours_to_test_on(tmp_path: Path) -> None:
    found, store = prepare(lits(tmp_path / "raw"), tmp_path / "out")
    assert "LiTS: 5 volumes" in found
    assert {item.role for item in store.items} == set(Role)
    assert store.manifest.ranked
    assert failed(tmp_path / "out") == []
    lesion = next(item for item in store.items if item.lesion)
    rows, columns = np.nonzero(store.mask(lesion))
    assert lesion.shape == (1, 56, 64)
    assert rows.mean() < 28 and columns.mean() < 32  # noqa: PT018  front and right: top and left
    inside = store.image(lesion)[0][store.mask(lesion) == 1].mean()
    assert inside == pytest.approx(60 / 75 - 1, abs=0.05)  # 60 HU in the window [0, 150]


def test_msd_has_the_same_split_and_its_test_images_are_left_out(tmp_path: Path) -> None:
    found, store = prepare(msd(tmp_path / "raw"), tmp_path / "out")
    assert "MSD" in found
    roles = committed_split()
    for item in store.items:
        assert item.role == roles[int(item.case.removeprefix("msd-"))]
    assert "msd-131" not in {item.case for item in store.items}


def test_lits_with_btcv_trains_on_healthy_patients(tmp_path: Path) -> None:
    lits(tmp_path / "raw" / "LiTS", [0, 1, 2, 3, 4, 5])
    btcv(tmp_path / "raw" / "BTCV")
    found, store = prepare(tmp_path / "raw", tmp_path / "out")
    assert "LiTS with BTCV" in found
    assert {item.cohort for item in store.role(Role.TRAIN)} == {"btcv"}
    assert {item.cohort for item in store.role(Role.TEST)} == {"lits", "btcv"}
    assert failed(tmp_path / "out") == []


def test_btcv_alone_is_not_ranked(tmp_path: Path) -> None:
    _, store = prepare(btcv(tmp_path / "raw"), tmp_path / "out")
    assert not store.manifest.ranked
    assert not any(item.lesion for item in store.items)


def test_bmad_is_read_from_images_and_not_ranked(tmp_path: Path) -> None:
    found, store = prepare(bmad(tmp_path / "raw"), tmp_path / "out")
    assert "BMAD" in found
    assert {item.role for item in store.items} == {Role.TRAIN, Role.CALIB, Role.VAL, Role.TEST}
    assert sum(item.lesion for item in store.items) == 2
    assert not store.manifest.ranked
    with pytest.raises(DataError, match="no Hounsfield units"):
        prepare(tmp_path / "raw", tmp_path / "paper", "paper")


def test_a_ct_with_a_liver_mask_is_test_only(tmp_path: Path) -> None:
    hu, labels = abdomen(1, tumour=False)
    save(tmp_path / "raw" / "example_ct_sm.nii.gz", hu)
    save(tmp_path / "raw" / "example_ct.nii.gz", np.concatenate([hu, hu], 2))
    save(tmp_path / "raw" / "example_liver_mask_fast.nii.gz", labels)
    _, store = prepare(tmp_path / "raw", tmp_path / "out")
    assert {item.role for item in store.items} == {Role.TEST}
    assert not store.manifest.ranked
    assert any("example_ct.nii.gz has no liver mask" in note for note in store.manifest.notes)


@pytest.mark.parametrize("code", ["LPS", "RPI", "ASR"])
def test_the_same_from_any_orientation_and_with_workers(tmp_path: Path, code: str) -> None:
    raw = lits(tmp_path / "raw")
    _, straight = prepare(raw, tmp_path / "a")
    turn = nib.orientations.axcodes2ornt(tuple(code))
    for path in raw.rglob("*.nii"):
        image = nib.Nifti1Image.from_filename(path)
        change = nib.orientations.ornt_transform(nib.io_orientation(image.affine), turn).tolist()
        turned_image = image.as_reoriented(change)
        save(tmp_path / "turned" / path.name, np.asarray(turned_image.dataobj), np.asarray(turned_image.affine))
    _, turned = prepare(tmp_path / "turned", tmp_path / "b", workers=2 if code == "LPS" else 1)
    assert turned.manifest.fingerprint == straight.manifest.fingerprint


def test_the_paper_recipe_scales_each_slice_and_selects(tmp_path: Path) -> None:
    _, strict = prepare(lits(tmp_path / "raw"), tmp_path / "a")
    _, paper = prepare(tmp_path / "raw", tmp_path / "b", "paper")
    for item in paper.items:
        image = paper.image(item)
        assert (image.min(), image.max()) == (-1, 1)
    assert len(paper.items) <= len(strict.items)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("no partner", "no partner"),
        ("no liver", "holds no liver"),
        ("other grid", "another grid"),
        ("unknown number", "committed split"),
        ("both", "same patients"),
        ("truncated", "truncated|readable"),
        ("nan", "NaN"),
        ("empty", "no layout"),
    ],
)
def test_bad_files_are_named_and_nothing_is_left(tmp_path: Path, damage: str, message: str) -> None:
    raw = lits(tmp_path / "raw")
    image = sorted((raw / "volumes").iterdir())[0]
    number = int(image.stem.split("-")[1])
    labels = raw / "segmentations" / f"segmentation-{number}.nii"
    named = image.name
    if damage == "no partner":
        labels.unlink()
    elif damage == "no liver":
        save(labels, np.zeros(SHAPE, np.uint8))
        named = labels.name
    elif damage == "other grid":
        save(labels, np.ones((*SHAPE[:2], 5), np.uint8))
        named = labels.name
    elif damage == "unknown number":
        image.rename(image.with_name("volume-999.nii"))
        labels.rename(labels.with_name("segmentation-999.nii"))
        named = "volume-999"
    elif damage == "both":
        msd(raw / "msd")
        named = raw.name
    elif damage == "truncated":
        image.write_bytes(image.read_bytes()[:1000])
    elif damage == "nan":
        save(image, np.full(SHAPE, np.nan, np.float32))
    else:
        raw = tmp_path / "none"
        raw.mkdir()
        named = "none"
    with pytest.raises(DataError, match=message) as caught:
        prepare(raw, tmp_path / "out")
    assert named in str(caught.value)
    assert not [path for path in tmp_path.iterdir() if path.name.startswith((".", "out"))]
