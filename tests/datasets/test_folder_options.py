"""What a user may say of a folder with --set and the flags of ``prepare folder``, each on its own tiny input."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from tests.support.folder_data import SIZE, picture, put, table, two_folders, volumes
from uadbench.cli import app
from uadbench.core.dataset import no_progress
from uadbench.core.errors import DataError
from uadbench.core.roles import Role
from uadbench.data.storage.store import Store
from uadbench.datasets.folder import Folder


def prepare(source: Path, out: Path, **options: Any) -> Store:
    Folder(**options).prepare(source, out, "strict", 1, no_progress)
    return Store(out)


def nnunet(raw: Path, labels: dict[str, int]) -> Path:
    """Two channels a patient; label 1 is the organ, 2 the lesion of the last two."""
    old = volumes(raw / "old", lambda data: data)
    for n in range(6):
        folder = old / ("abnormal" if n > 3 else "normal")
        image = nib.load(folder / f"v{n}.nii.gz")
        assert isinstance(image, nib.Nifti1Image)
        data = np.asarray(image.dataobj)
        marks = (data > 0).astype(np.uint8)
        if n > 3:
            lesion = nib.load(old / "masks" / f"v{n}.nii.gz")
            assert isinstance(lesion, nib.Nifti1Image)
            marks[np.asarray(lesion.dataobj) > 0] = 2
        for name, array in (
            (f"imagesTr/p_{n}_0000", data),
            (f"imagesTr/p_{n}_0001", 2 * data),
            (f"labelsTr/p_{n}", marks),
        ):
            file = raw / "set" / f"{name}.nii.gz"
            file.parent.mkdir(parents=True, exist_ok=True)
            nib.Nifti1Image(array, image.affine).to_filename(file)
    about = {
        "channel_names": {"0": "FLAIR", "1": "T1"},
        "labels": {"background": 0, **labels},
        "file_ending": ".nii.gz",
    }
    (raw / "set" / "dataset.json").write_text(json.dumps(about))
    return raw / "set"


def test_nnunet_takes_the_first_channel_and_the_labels_that_are_named(tmp_path: Path) -> None:
    raw = nnunet(tmp_path, {"brain": 1, "tumour": 2})
    with pytest.raises(DataError, match=r"the labels 1 brain, 2 tumour.*--set lesion=2"):
        prepare(raw, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    store = prepare(raw, tmp_path / "out", lesion="2")
    assert len({item.patient for item in store.items}) == 6
    assert sum(item.lesion for item in store.items) == 2
    assert {int((store.mask(item) == 1).sum()) for item in store.items if item.lesion} == {9}
    assert store.manifest.modality == "mr-flair"
    assert any("6 files of other channels than _0000" in note for note in store.manifest.notes)


def test_nnunet_of_one_label_needs_no_word_and_an_image_without_label_is_named(tmp_path: Path) -> None:
    raw = nnunet(tmp_path, {"tumour": 1})
    for file in (raw / "labelsTr").iterdir():
        image = nib.load(file)
        assert isinstance(image, nib.Nifti1Image)
        nib.Nifti1Image((np.asarray(image.dataobj) == 2).astype(np.uint8), image.affine).to_filename(file)
    assert sum(item.lesion for item in prepare(raw, tmp_path / "out").items) == 2
    (raw / "labelsTr" / "p_1.nii.gz").unlink()
    with pytest.raises(DataError, match=r"p_1_0000\.nii\.gz has no mask p_1 in labelsTr"):
        prepare(raw, tmp_path / "more")


def coloured(raw: Path) -> Path:
    for folder in ("normal", "abnormal"):
        for file in (raw / folder).iterdir():
            grey = np.asarray(Image.open(file)).astype(int)
            put(file, np.dstack([grey, grey // 2, 255 - grey]).astype(np.uint8))
    return raw


def test_colours_are_refused_until_the_user_says_how_they_are_taken(tmp_path: Path) -> None:
    raw = coloured(two_folders(tmp_path / "raw", 4))
    with pytest.raises(DataError, match=r"8 files(.|\n)*is a colour image\. .*--set colour=grey or rgb"):
        prepare(raw, tmp_path / "out")
    pixels = np.asarray(Image.open(raw / "normal" / "n0.png")).astype(np.float32)
    wanted = {"grey": [pixels @ np.array([0.299, 0.587, 0.114], np.float32)], "rgb": list(pixels.transpose(2, 0, 1))}
    for colour, channels in wanted.items():
        store = prepare(raw, tmp_path / colour, colour=colour)
        ours = np.stack(channels) * (2 / 255) - 1
        assert min(float(np.abs(store.image(item) - ours).max()) for item in store.items) < 2e-3
        assert {item.shape for item in store.items} == {(len(channels), *SIZE)}


def test_ct_that_is_windowed_is_taken_where_the_user_says_so(tmp_path: Path) -> None:
    raw = two_folders(tmp_path / "raw", 4)
    with pytest.raises(DataError, match=r"CT without Hounsfield units.*hu=windowed"):
        prepare(raw, tmp_path / "out", modality="ct-liver")
    store = prepare(raw, tmp_path / "out", modality="ct-liver", hu="windowed")
    plain = prepare(raw, tmp_path / "plain")
    assert store.manifest.modality == "ct-liver"
    for one, other in zip(store.items, plain.items, strict=True):
        np.testing.assert_array_equal(store.image(one), plain.image(other))


def test_windowed_volumes_share_one_range(tmp_path: Path) -> None:
    raw = volumes(tmp_path / "raw", lambda data: np.clip(data / 3, 0, 255))
    with pytest.raises(DataError, match="CT without Hounsfield units"):
        prepare(raw, tmp_path / "out", modality="ct")
    store = prepare(raw, tmp_path / "out", modality="ct", hu="windowed")
    high = max(float(store.image(item).max()) for item in store.items if not item.lesion)
    assert high == pytest.approx(max(_volume(raw, n).max() for n in range(4)) * 2 / 255 - 1, abs=2e-3)


def _volume(raw: Path, n: int) -> np.ndarray:
    image = nib.load(raw / "normal" / f"v{n}.nii.gz")
    assert isinstance(image, nib.Nifti1Image)
    return np.asarray(image.dataobj)


def test_a_window_says_what_is_black_and_white(tmp_path: Path) -> None:
    raw = volumes(tmp_path / "raw", lambda data: np.where(data > 0, data - 350, -1000))
    store = prepare(raw, tmp_path / "out", window="0,100")
    usual = prepare(raw, tmp_path / "usual")
    assert any((store.image(item) == 1).any() for item in store.items if not item.lesion)
    assert not any((usual.image(item) == 1).any() for item in usual.items if not item.lesion)
    pictures = two_folders(tmp_path / "pictures", 4)
    store = prepare(pictures, tmp_path / "more", window="90,150")
    levels = np.asarray(Image.open(pictures / "normal" / "n0.png")).astype(np.float32)
    ours = np.clip((levels - 90) / 30 - 1, -1, 1)
    assert min(float(np.abs(store.image(item)[0] - ours).max()) for item in store.items) < 2e-3


def test_keep_aspect_pads_in_millimetres(tmp_path: Path) -> None:
    raw = volumes(tmp_path / "raw", lambda data: data, (1, 2, 4))  # 20 mm by 48 mm
    plain, square = prepare(raw, tmp_path / "plain"), prepare(raw, tmp_path / "square", keep_aspect=True)
    assert {item.shape for item in plain.items} == {(1, 24, 20)}
    assert {item.shape for item in square.items} == {(1, 24, 48)}
    for one, other in zip(plain.items, square.items, strict=True):
        np.testing.assert_array_equal(square.image(other)[:, :, 14:34], plain.image(one))
        np.testing.assert_array_equal(square.mask(other)[:, 14:34], plain.mask(one))
        assert not square.body(other)[:, :14].any()
        assert not square.body(other)[:, 34:].any()


def test_the_whole_frame_is_body_where_the_user_says_so(tmp_path: Path) -> None:
    raw = volumes(tmp_path / "raw", lambda data: data)
    found = prepare(raw, tmp_path / "a")
    assert all(found.body(item).mean() == pytest.approx(120 / 480) for item in found.items)
    whole = prepare(raw, tmp_path / "b", body="frame", modality="mr")
    assert all(whole.body(item).all() for item in whole.items)
    for one, other in zip(found.items, whole.items, strict=True):
        np.testing.assert_array_equal(found.image(one), whole.image(other))  # one scale, whatever counts as body


def test_jpeg_masks_are_cut_at_half_with_a_note(tmp_path: Path) -> None:
    raw = two_folders(tmp_path / "raw", 4)
    for file in list((raw / "masks").iterdir()):
        Image.open(file).save(file.with_suffix(".jpg"), quality=60)
        file.unlink()
    assert len(np.unique(np.asarray(Image.open(raw / "masks" / "a0.jpg")))) > 2
    store = prepare(raw, tmp_path / "out")
    marked = {int((store.mask(item) == 1).sum()) for item in store.items if item.lesion}
    assert all(abs(count - 36) <= 4 for count in marked)
    assert any("JPEG masks: values of at least half the range" in note for note in store.manifest.notes)


def test_slices_of_a_volume_that_are_pictures_share_one_scale(tmp_path: Path) -> None:
    """Two patients who differ in the gain of the scanner alone come to one picture; their slices keep their order."""
    raw, rows = tmp_path / "raw", list[dict[str, Any]]()
    for p in range(6):
        for z in range(3):
            rng = np.random.default_rng(p // 2 * 10 + z)
            levels = np.zeros(SIZE)
            levels[8:32, 6:30] = (40 + 15 * z) + rng.integers(0, 10, (24, 24))
            gain = 3 if p % 2 else 1
            put(raw / "images" / f"{p}-{z}.png", (levels * gain).astype(np.uint8))
            split = "train" if p < 4 else "calib" if p < 5 else "test"
            rows.append({"image": f"images/{p}-{z}.png", "patient": p, "slice": z, "split": split, "label": "normal"})
    store = prepare(table(raw, rows), tmp_path / "out")
    images = {(item.patient, item.index): store.image(item) for item in store.items}
    for z in range(3):
        for p in (0, 2):
            np.testing.assert_allclose(images[f"p{p:05d}", z], images[f"p{p + 1:05d}", z], atol=2e-3)
    inside = [float(images["p00000", z][0, 10:30, 8:28].mean()) for z in range(3)]
    assert inside[0] < inside[1] < inside[2]
    alone = prepare(raw, tmp_path / "other", modality="other")
    brightest = {item.patient: float(alone.image(item).max()) for item in alone.items if item.index == 2}
    assert brightest["p00001"] > brightest["p00000"] + 0.5  # each by the range of its type: the gain stays


def copies(raw: Path, *, split: bool) -> Path:
    """Eight patients; n1 and n2 of the table are one picture, in train and calib where a split is given."""
    rows: list[dict[str, Any]] = []
    for n in range(10):
        sick = n > 5
        image, mask = picture(1 if n == 2 else n, lesion=sick)
        put(raw / "images" / f"{n}.png", image)
        row = {"image": f"images/{n}.png", "mask": "", "patient": n, "label": "abnormal" if sick else "normal"}
        if sick:
            put(raw / "masks" / f"{n}.png", 255 * mask.astype(np.uint8))
            row["mask"] = f"masks/{n}.png"
        if split:
            row["split"] = "test" if sick or n == 1 else "calib" if n > 4 else "train"
        rows.append(row)
    return table(raw, rows)


def _prepared(raw: Path, out: Path, *more: str) -> tuple[str, Store | None]:
    result = CliRunner().invoke(app, ["prepare", "folder", "--source", str(raw), "--out", str(out), *more])
    text = f"{result.output}{result.exception or ''}"
    return text, Store(out) if out.exists() else None


def test_a_split_that_is_drawn_groups_near_duplicates(tmp_path: Path) -> None:
    text, store = _prepared(copies(tmp_path / "raw", split=False), tmp_path / "out")
    assert store is not None, text
    roles = {item.patient: item.role for item in store.items}
    assert (len(store.items), len(roles)) in {(10, 9), (10, 10)}
    if len(roles) == 9:
        assert "2 patients were taken as 1 (single linkage" in text


def test_a_split_that_is_given_is_never_overridden(tmp_path: Path) -> None:
    raw = copies(tmp_path / "raw", split=True)
    for flags in ((), ("--near-duplicates", "group"), ("--near-duplicates", "error")):
        text, store = _prepared(raw, tmp_path / "out", *flags)
        assert store is None
        assert "1 pair of images is a near-duplicate across roles" in text
        assert "images/1" in text
        assert "images/2" in text
    text, store = _prepared(raw, tmp_path / "out", "--near-duplicates", "drop")
    assert store is not None, text
    assert "Near-duplicates left out: 1 images" in text
    assert len(store.items) == 9
    assert len(store.role(Role.TEST)) == 5  # the image of test stays, that of train goes


def test_volumes_and_pictures_are_prepared_apart(tmp_path: Path) -> None:
    raw = volumes(tmp_path / "raw", lambda data: data)
    put(raw / "normal" / "a.png", picture(0)[0])
    with pytest.raises(DataError, match=r"a\.png is a 2-D image: the folder mixes volumes and 2-D images"):
        prepare(raw, tmp_path / "out")
