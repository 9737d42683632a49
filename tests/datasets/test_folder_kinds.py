"""Situations in which strangers' folders were once read wrongly without a word; each makes its own tiny input."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pydicom
import pytest
from PIL import Image

from tests.support.folder_data import picture, put, series, two_folders, volumes
from uadbench.core.dataset import no_progress
from uadbench.core.errors import DataError
from uadbench.core.roles import Role
from uadbench.data.reading.formats import table
from uadbench.data.storage.store import Store
from uadbench.datasets.folder import Folder


def prepare(source: Path, out: Path, **options: Any) -> Store:
    Folder(**options).prepare(source, out, "strict", 1, no_progress)
    return Store(out)


def rename(raw: Path, old: str, new: str) -> None:
    for path in sorted(raw.rglob(f"*{old}"))[::2]:
        path.rename(path.with_name(path.name.removesuffix(old) + new))


@pytest.mark.parametrize("suffix", [".PNG", ".Png"])
def test_suffixes_count_in_any_case(tmp_path: Path, suffix: str) -> None:
    raw = two_folders(tmp_path / "raw", 4)
    rename(raw / "normal", ".png", suffix)
    assert len(prepare(raw, tmp_path / "out").items) == 8


def test_two_masks_of_an_image_are_united(tmp_path: Path) -> None:
    raw = two_folders(tmp_path / "raw", 4)
    (raw / "masks" / "a0.png").rename(raw / "masks" / "a0_mask.png")
    second = np.zeros((40, 36), np.uint8)
    second[30:34, 20:24] = 255
    put(raw / "masks" / "a0_mask_1.png", second)
    store = prepare(raw, tmp_path / "out")
    assert sorted(int((store.mask(item) == 1).sum()) for item in store.items if item.lesion) == [36, 36, 36, 52]


def test_the_longest_name_takes_the_mask(tmp_path: Path) -> None:
    raw = two_folders(tmp_path / "raw", 4)
    for folder in ("abnormal", "masks"):
        (raw / folder / "a0.png").rename(raw / folder / "12.png")
        (raw / folder / "a1.png").rename(raw / folder / "12.1.png")
    image, mask = picture(100, lesion=True)
    put(raw / "masks" / "12.1.png", 255 * np.roll(mask, 9, axis=1).astype(np.uint8))
    store = prepare(raw, tmp_path / "out")
    places = {tuple(np.argwhere(store.mask(item) == 1).min(0)) for item in store.items if item.lesion}
    assert places == {(10, 8), (10, 17)}
    assert image.any()


def test_busi_as_unzipped(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    for n in range(4):
        put(raw / "normal" / f"normal ({n}).png", picture(n)[0])
        put(raw / "normal" / f"normal ({n})_mask.png", np.zeros((40, 36), np.uint8))
        image, mask = picture(100 + n, lesion=True)
        put(raw / "benign" / f"benign ({n}).png", image)
        put(raw / "benign" / f"benign ({n})_mask.png", 255 * mask.astype(np.uint8))
    store = prepare(raw, tmp_path / "out")
    assert (len(store.items), sum(item.lesion for item in store.items)) == (8, 4)
    assert not store.manifest.ranked


def test_bmad_tree_has_its_masks_in_label(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    for n in range(4):
        put(raw / "train" / "good" / "img" / f"{n}.png", picture(n)[0])
        put(raw / "test" / "good" / "img" / f"{n}.png", picture(50 + n)[0])
        image, mask = picture(100 + n, lesion=True)
        put(raw / "test" / "Ungood" / "img" / f"{n}.png", image)
        put(raw / "test" / "Ungood" / "label" / f"{n}.png", 255 * mask.astype(np.uint8))
    store = prepare(raw, tmp_path / "out")
    assert sum(item.lesion for item in store.role(Role.TEST)) == 4
    assert len(store.role(Role.TEST)) == 8


def test_a_table_of_another_spreadsheet_is_read_and_black_masks_are_healthy(tmp_path: Path) -> None:
    raw = two_folders(tmp_path / "raw", 4)
    lines = ["image;mask;patient"]
    for n in range(4):
        put(raw / "masks" / f"n{n}.png", np.zeros((40, 36), np.uint8))
        lines += [f"normal\\n{n}.png;masks\\n{n}.png;p{n}", f"abnormal\\a{n}.png;masks\\a{n}.png;q{n}"]
    (raw / "metadata.csv").write_text("\n".join(lines), encoding="utf-8-sig")
    store = prepare(raw, tmp_path / "out")
    assert sum(item.lesion for item in store.items) == 4
    assert store.manifest.ranked


def test_a_table_of_a_german_spreadsheet_keeps_its_umlauts(tmp_path: Path) -> None:
    raw = two_folders(tmp_path / "raw", 4)
    lines = ["image;label;patient"]
    for folder in ("normal", "abnormal"):
        for n in range(4):
            file = raw / folder / f"{folder[0]}{n}.png"
            file.rename(file.with_name(f"Größe {n}.png"))
            lines.append(f"{folder}\\Größe {n}.png;{folder};Müller {folder} {n}")
    (raw / "metadata.csv").write_text("\n".join(lines), encoding="cp1252")
    assert len({item.patient for item in prepare(raw, tmp_path / "out").items}) == 8


def test_the_one_folder_of_an_archive_is_looked_into(tmp_path: Path) -> None:
    raw = two_folders(tmp_path / "raw" / "Dataset_with_GT", 4)
    (tmp_path / "raw" / "__MACOSX").mkdir()
    store = prepare(tmp_path / "raw", tmp_path / "out")
    assert len(store.items) == 8
    assert "Read from Dataset_with_GT/." in store.manifest.notes
    put(raw.parent / "more" / "a.png", picture(0)[0])
    with pytest.raises(DataError, match="no known layout"):
        prepare(tmp_path / "raw", tmp_path / "more")


def test_masks_drawn_in_black_are_said(tmp_path: Path) -> None:
    raw = two_folders(tmp_path / "raw", 4)
    for path in (raw / "masks").iterdir():
        put(path, 255 - np.asarray(Image.open(path)))
    notes = prepare(raw, tmp_path / "out").manifest.notes
    assert any("4 files: masks mark more than half of their image" in note for note in notes)


@pytest.mark.parametrize(("mark", "first"), [(";", "sep=;\r\n"), ("\t", ""), (",", "")])
def test_a_table_may_be_separated_by_anything_that_spreadsheets_write(tmp_path: Path, mark: str, first: str) -> None:
    raw = two_folders(tmp_path / "raw", 4)
    lines = [mark.join(("Image", "Label"))]
    lines += [
        mark.join((f"{folder}/{folder[0]}{n}.png", folder)) for folder in ("normal", "abnormal") for n in range(4)
    ]
    (raw / "metadata.csv").write_text(first + "\r\n".join(lines), encoding="utf-16" if mark == "\t" else "utf-8-sig")
    assert sum(item.lesion for item in prepare(raw, tmp_path / "out").items) == 4


def test_transparency_marks_the_lesion(tmp_path: Path) -> None:
    raw = two_folders(tmp_path / "raw", 4)
    for path in (raw / "masks").iterdir():
        mask = np.asarray(Image.open(path))
        Image.fromarray(np.dstack([np.full_like(mask, 255), 0 * mask, 0 * mask, mask])).save(path)
    store = prepare(raw, tmp_path / "out")
    assert {int((store.mask(item) == 1).sum()) for item in store.items if item.lesion} == {36}


def test_twelve_bits_fill_the_range(tmp_path: Path) -> None:
    raw = two_folders(tmp_path / "raw", 4)
    for folder in ("normal", "abnormal"):
        for path in (raw / folder).iterdir():
            Image.fromarray(np.asarray(Image.open(path)).astype(np.uint16) * 16).save(path)
    store = prepare(raw, tmp_path / "out")
    assert max(float(store.image(item).max()) for item in store.items) > 0.8
    assert any("12 bits" in note for note in store.manifest.notes)


def test_all_bad_files_are_named_at_once_and_may_be_skipped(tmp_path: Path) -> None:
    raw = two_folders(tmp_path / "raw", 6)
    for n in (1, 4):
        put(raw / "normal" / f"n{n}.png", np.zeros((40, 36), np.uint8))
    with pytest.raises(DataError, match="2 files") as caught:
        prepare(raw, tmp_path / "out")
    assert "n1.png" in str(caught.value)
    assert "n4.png" in str(caught.value)
    store = prepare(raw, tmp_path / "out", skip_bad=True)
    assert len(store.items) == 10
    assert any("Bad files left out: 2" in note for note in store.manifest.notes)


def test_hidden_folders_are_passed_over_and_unused_files_counted(tmp_path: Path) -> None:
    raw = two_folders(tmp_path / "raw", 4)
    put(raw / "normal" / ".ipynb_checkpoints" / "n0-checkpoint.png", picture(0)[0])
    (raw / "notes.txt").write_text("hello")
    store = prepare(raw, tmp_path / "out")
    assert len(store.items) == 8
    assert "Found and not used: 1 .txt." in store.manifest.notes


def test_patients_in_names_are_offered_and_taken(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    for n in range(24):
        image, mask = picture(n, lesion=n > 15)
        put(raw / ("abnormal" if n > 15 else "normal") / f"P{n // 4:02d}_{n % 4:03d}.png", image)
        if n > 15:
            put(raw / "masks" / f"P{n // 4:02d}_{n % 4:03d}.png", 255 * mask.astype(np.uint8))
    store = prepare(raw, tmp_path / "out")
    assert not store.manifest.ranked
    assert any("--patient-pattern" in note for note in store.manifest.notes)
    known = prepare(raw, tmp_path / "known", patient_pattern=r"(P\d+)_")
    assert len({item.patient for item in known.items}) == 6
    with pytest.raises(DataError, match="finds no patient"):
        prepare(raw, tmp_path / "none", patient_pattern=r"(Q\d+)_")


def test_an_offset_background_is_as_a_background_of_zero(tmp_path: Path) -> None:
    zero = prepare(volumes(tmp_path / "a", lambda data: data), tmp_path / "zero")
    moved = prepare(volumes(tmp_path / "b", lambda data: data + np.float32(0.03)), tmp_path / "moved")
    for one, other in zip(zero.items, moved.items, strict=True):
        np.testing.assert_array_equal(zero.body(one), moved.body(other))
        np.testing.assert_allclose(zero.image(one), moved.image(other), atol=2e-3)


def test_a_noisy_background_is_no_body(tmp_path: Path) -> None:
    def noisy(data: np.ndarray) -> np.ndarray:
        return data + np.abs(np.random.default_rng(1).normal(0, 8, data.shape)).astype(np.float32)

    store = prepare(volumes(tmp_path / "raw", noisy), tmp_path / "out")
    shares = [float(store.body(item).mean()) for item in store.items]
    assert shares == pytest.approx([120 / 480] * len(shares), abs=0.03)


def test_z_scores_are_refused_and_clipped_ct_is_ct(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="z-scored"):
        prepare(volumes(tmp_path / "z", lambda data: np.where(data > 0, (data - 400) / 20, 0)), tmp_path / "out")
    store = prepare(volumes(tmp_path / "ct", lambda data: np.where(data > 0, data - 350, -200)), tmp_path / "out")
    assert store.manifest.modality == "ct"


def test_volumes_are_sliced_in_the_plane_of_acquisition(tmp_path: Path) -> None:
    thick = volumes(tmp_path / "raw", lambda data: data, (5, 1, 1))
    assert all(item.shape == (1, 6, 24) for item in prepare(thick, tmp_path / "out").items)
    assert all(item.shape == (1, 24, 20) for item in prepare(thick, tmp_path / "axial", plane="axial").items)


def test_colours_and_complex_volumes_are_refused_by_name(tmp_path: Path) -> None:
    raw = volumes(tmp_path / "raw", lambda data: data)
    kind = np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")])
    nib.Nifti1Image(np.zeros((4, 4, 4), kind), np.eye(4)).to_filename(raw / "normal" / "v0.nii.gz")
    nib.Nifti1Image(np.zeros((4, 4, 4), np.complex64), np.eye(4)).to_filename(raw / "normal" / "v1.nii.gz")
    with pytest.raises(DataError, match="2 files") as caught:
        prepare(raw, tmp_path / "out")
    assert "RGB" in str(caught.value)
    assert "complex" in str(caught.value)


def _edit(folder: Path, change: Callable[[pydicom.Dataset, int], None]) -> None:
    for n, path in enumerate(sorted(folder.iterdir())):
        data = pydicom.dcmread(path)
        change(data, n)
        data.save_as(path)


@pytest.mark.parametrize(
    ("tag", "message"), [("RescaleSlope", "Hounsfield"), ("PixelSpacing", "lacks PixelSpacing"), ("no", "")]
)
def test_empty_dicom_values_count_as_missing(tmp_path: Path, tag: str, message: str) -> None:
    for n in range(3):
        series(tmp_path / "raw" / "normal" / f"s{n}")
    for path in (tmp_path / "raw").rglob("*.dcm"):
        path.rename(path.with_suffix("" if message else ".DCM"))
    if message:
        _edit(tmp_path / "raw" / "normal" / "s1", lambda data, _: setattr(data, tag, None))
        with pytest.raises(DataError, match=message) as caught:
            prepare(tmp_path / "raw", tmp_path / "out")
        assert "s1" in str(caught.value)
    else:
        assert len({item.case for item in prepare(tmp_path / "raw", tmp_path / "out").items}) == 3


def test_gantry_tilt_is_taken_out(tmp_path: Path) -> None:
    for n in range(3):
        folder = series(tmp_path / "raw" / "normal" / f"s{n}")

        def tilt(data: pydicom.Dataset, z: int) -> None:
            data.ImageOrientationPatient = [1, 0, 0, 0, float(np.cos(0.35)), float(-np.sin(0.35))]
            data.ImagePositionPatient = [0, 0, 3.0 * float(data.filename.split("/")[-1].split(".")[0])]

        _edit(folder, tilt)
    store = prepare(tmp_path / "raw", tmp_path / "out")
    assert any("gantry tilt" in note for note in store.manifest.notes)
    assert store.items[0].shape[1] > 40  # widened, nothing is cut off


def test_lesion_free_slices_train_where_every_patient_has_a_lesion(tmp_path: Path) -> None:
    raw = volumes(tmp_path / "raw", lambda data: data)
    for path in (raw / "normal").iterdir():
        path.unlink()
    with pytest.raises(DataError, match="healthy=slices"):
        prepare(raw, tmp_path / "out")
    more = [raw / "abnormal" / f"v{n}.nii.gz" for n in (4, 5)]
    for n in range(6, 12):
        (raw / "abnormal" / f"v{n}.nii.gz").write_bytes(more[n % 2].read_bytes())
        (raw / "masks" / f"v{n}.nii.gz").write_bytes((raw / "masks" / f"v{4 + n % 2}.nii.gz").read_bytes())
    store = prepare(raw, tmp_path / "out", healthy="slices")
    assert {item.index for item in store.role(Role.TRAIN)} == {5}  # the lesion is in slice 2, two on either side go
    assert {item.kind for item in store.role(Role.TRAIN)} == {"lesion-patient"}
    assert store.manifest.health_masks > 0


def test_one_healthy_patient_is_too_few_to_train_on(tmp_path: Path) -> None:
    """Calibration would get the one there is: a store on which no method can learn, made without a word."""
    raw = volumes(tmp_path / "raw", lambda data: data)
    for path in sorted((raw / "normal").iterdir())[1:]:
        path.unlink()
    with pytest.raises(DataError, match="too few to train on") as error:
        prepare(raw, tmp_path / "out")
    assert "--set healthy=slices" in str(error.value)
    assert not (tmp_path / "out").exists()


def test_the_page_has_the_formats_that_are_read() -> None:
    page = (Path(__file__).parents[2] / "docs" / "how-to" / "own-data.md").read_text(encoding="utf-8")
    assert table() in page
