"""``predict`` on runs of strangers' stores: what ``prepare`` reads it reads alike, and it names what it cannot use."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from PIL import Image
from typer.testing import CliRunner

from tests.support.dicom_data import frame
from tests.support.folder_data import SIZE, picture, put, series, two_folders, volumes
from uadbench.cli import app
from uadbench.core.dataset import no_progress
from uadbench.core.errors import DataError
from uadbench.data.preprocessing.brain import brain_of, brain_scale
from uadbench.data.storage.store import Store
from uadbench.datasets.folder import Folder
from uadbench.inference.new_images import COLUMNS, apply_run
from uadbench.runner.execution.run import execute
from uadbench.runner.planning.plan import plan_run


def trained(root: Path, raw: Path, **options: Any) -> Path:
    """A run whose map is the image itself."""
    Folder(**options).prepare(raw, root / "store", "strict", 1, no_progress)
    plan = plan_run(method="intensity", train=Store(root / "store"), preset="smoke", overrides={"image_size": 40})
    return execute(plan, root=root / "runs", device="cpu")[1]


@pytest.fixture(scope="module")
def pictures_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("pictures")
    return trained(root, two_folders(root / "raw"))


@pytest.fixture(scope="module")
def mr_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("mr")
    return trained(root, volumes(root / "raw", lambda data: data))


@pytest.fixture(scope="module")
def ct_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("ct")
    return trained(root, volumes(root / "raw", lambda data: np.where(data > 0, data - 350, -1000)))


def predicted(run: Path, source: Path, out: Path) -> tuple[dict[str, dict[str, str]], list[str], list[str]]:
    """Rows of scores.csv by input, problems and notes."""
    applied = apply_run(run, source, out, "cpu", no_progress)
    if applied.scores is None:
        return {}, applied.problems, applied.notes
    with applied.scores.open() as file:
        return {row["input"]: row for row in csv.DictReader(file)}, applied.problems, applied.notes


def scores(run: Path, source: Path, out: Path) -> dict[str, float]:
    rows, problems, _ = predicted(run, source, out)
    assert problems == []
    return {name: float(row["score"]) for name, row in rows.items()}


def test_what_is_white_does_not_matter(pictures_run: Path, tmp_path: Path) -> None:
    for n in range(3):
        pixels = picture(n, lesion=n > 1)[0]
        for name, white, values in (("two", 2, pixels), ("one", 1, 255 - pixels)):
            (tmp_path / name).mkdir(exist_ok=True)
            frame(tmp_path / name / f"{n}.dcm", values, white=white).save_as(
                tmp_path / name / f"{n}.dcm", enforce_file_format=True
            )
        put(tmp_path / "png" / f"{n}.png", pixels)
    found = [scores(pictures_run, tmp_path / name, tmp_path / f"{name}-out") for name in ("two", "one", "png")]
    assert found[0] == found[1] == found[2]
    assert len(set(found[0].values())) == 3


def test_pictures_of_any_depth_score_alike(pictures_run: Path, tmp_path: Path) -> None:
    levels = picture(0)[0]
    put(tmp_path / "in" / "a.PNG", levels)
    put(tmp_path / "in" / "b.png", levels.astype(np.uint16) * 257)
    Image.fromarray((levels / np.float32(255)).astype(np.float32)).save(tmp_path / "in" / "c.TIF")
    np.save(tmp_path / "in" / "d.npy", levels)
    put(tmp_path / "in" / "e.png", np.stack([levels] * 3, -1))
    found = scores(pictures_run, tmp_path / "in", tmp_path / "out")
    assert set(found) == {"a", "b", "c", "d", "e"}
    assert np.ptp(list(found.values())) < 1e-5


def test_pictures_that_fill_little_of_their_range_are_said(pictures_run: Path, tmp_path: Path) -> None:
    put(tmp_path / "in" / "a.png", picture(0)[0].astype(np.uint16) * 16)
    put(tmp_path / "in" / "b.png", picture(0)[0])
    notes = predicted(pictures_run, tmp_path / "in", tmp_path / "out")[2]
    assert [note for note in notes if "range" in note] == [
        "1 inputs: fills less than 10% of the range 0 to 65535 of its type and looks dark."
    ]


def test_a_store_of_twelve_bits_reads_twelve_bits(tmp_path: Path) -> None:
    raw = two_folders(tmp_path / "raw", 6)
    for file in [*(raw / "normal").iterdir(), *(raw / "abnormal").iterdir()]:
        put(file, np.asarray(Image.open(file)).astype(np.uint16) * 16)
    rows, problems, notes = predicted(trained(tmp_path, raw), raw / "normal", tmp_path / "out")
    assert (len(rows), problems) == (6, [])
    assert not [note for note in notes if "range" in note]


def test_volumes_and_pictures_have_no_common_scale(pictures_run: Path, mr_run: Path, tmp_path: Path) -> None:
    volumes(tmp_path / "volumes", lambda data: data)
    put(tmp_path / "pictures" / "a.png", picture(0)[0])
    for run, source, what in ((pictures_run, "volumes", "is a volume"), (mr_run, "pictures", "is a picture")):
        rows, problems, _ = predicted(run, tmp_path / source, tmp_path / "out")
        assert not rows
        assert all(what in problem and "common scale" in problem for problem in problems)


Change = Callable[[NDArray[Any]], NDArray[Any]]


BACKGROUNDS: dict[str, Change] = {
    "offset": lambda data: data + np.float32(0.03),
    "noise": lambda data: np.where(data == 0, np.abs(np.random.default_rng(1).normal(0, 4, data.shape)), data),
}


@pytest.mark.parametrize("background", BACKGROUNDS)
def test_the_background_of_a_volume_does_not_move_its_score(mr_run: Path, tmp_path: Path, background: str) -> None:
    plain = scores(mr_run, volumes(tmp_path / "a", lambda data: data) / "normal", tmp_path / "a-out")
    moved = scores(mr_run, volumes(tmp_path / "b", BACKGROUNDS[background]) / "normal", tmp_path / "b-out")
    # Noise moves the edge of the body by a pixel; taken for body itself it would move the scale to several times this.
    assert list(moved.values()) == pytest.approx(list(plain.values()), abs=0.1)


def test_a_heat_map_of_thick_sagittal_slices_lies_on_its_volume(mr_run: Path, tmp_path: Path) -> None:
    source = volumes(tmp_path / "in", lambda data: data, (5, 1, 1)) / "abnormal"
    rows = predicted(mr_run, source, tmp_path / "out")[0]
    assert rows["v4"]["slices"] == "10"  # those along x that hold the body
    image, heat = nib.load(source / "v4.nii.gz"), nib.load(tmp_path / "out" / "v4_heatmap.nii.gz")
    assert isinstance(image, nib.Nifti1Image)
    assert isinstance(heat, nib.Nifti1Image)
    np.testing.assert_array_equal(image.affine, heat.affine)
    lesion = np.asarray(image.dataobj) > 480
    values = np.asarray(heat.dataobj)
    assert lesion.sum() == 9
    assert values[lesion].mean() > np.quantile(values, 0.98)


BAD: dict[str, tuple[Change, str]] = {
    "z-scored": (lambda data: np.where(data > 0, (data - 390) / 20, 0).astype(np.float32), "z-scored"),
    "rgb": (lambda data: np.zeros(data.shape, [("R", "u1"), ("G", "u1"), ("B", "u1")]), "RGB"),
    "complex": (lambda data: data.astype(np.complex64), "complex"),
    "nan": (lambda data: np.where(data > 0, data, np.nan).astype(np.float32), "NaN"),
}


@pytest.mark.parametrize("fault", BAD)
def test_a_volume_that_is_no_magnitude_is_named(mr_run: Path, tmp_path: Path, fault: str) -> None:
    change, what = BAD[fault]
    source = volumes(tmp_path / "in", lambda data: data) / "normal"
    image = nib.load(source / "v1.nii.gz")
    assert isinstance(image, nib.Nifti1Image)
    nib.Nifti1Image(change(np.asarray(image.dataobj)), image.affine).to_filename(source / "v1.nii.gz")
    rows, problems, _ = predicted(mr_run, source, tmp_path / "out")
    assert set(rows) == {"v0", "v2", "v3"}
    assert len(problems) == 1
    assert "v1.nii.gz" in problems[0]
    assert what in problems[0]


def test_z_scores_are_no_brain() -> None:
    head = np.zeros((40, 40, 6), np.float32)
    head[8:32, 8:32] = np.random.default_rng(0).normal(0.3, 1, (24, 24, 6))
    with pytest.raises(DataError, match="z-scored"):
        brain_scale(head, brain_of(head))
    brain_scale(np.abs(head) + np.float32(1) - np.float32(1.01) * (head == 0), head != 0)  # ringing below 0 passes


def test_one_bad_series_costs_none_of_the_others(ct_run: Path, tmp_path: Path) -> None:
    for n, suffix in enumerate(["", ".DCM", ".dcm", ".IMA"]):
        for file in sorted(series(tmp_path / "in" / f"P{n}").iterdir()):
            file.rename(file.with_name(f"IM{file.stem}{suffix}"))
    lacking = ("RescaleSlope", "PixelSpacing", "ImagePositionPatient")
    for n, tag in enumerate(lacking, 4):
        for file in series(tmp_path / "in" / f"P{n}").iterdir():
            data = pydicom.dcmread(file)
            setattr(data, tag, None)
            data.save_as(file)
    (tmp_path / "in" / "P7").mkdir()
    (tmp_path / "in" / "P7" / "cut.dcm").write_bytes(b"\0" * 128 + b"DICM" + b"\1\2\3")
    command = ["predict", "--run", str(ct_run), "--input", str(tmp_path / "in"), "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(app, command)
    assert isinstance(result.exception, DataError)
    assert result.exception.exit_code == 2
    assert "4 of 8 inputs could not be used" in str(result.exception)
    with (tmp_path / "out" / "scores.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["input"] for row in rows] == ["P0", "P1", "P2", "P3"]
    assert len({row["score"] for row in rows}) == 1
    for name in ("P4", "P5", "P6", "P7"):
        assert name in result.stderr
    for what in ("Hounsfield", "lacks PixelSpacing", "lacks ImagePositionPatient"):
        assert what in result.stderr


def test_a_gantry_tilt_is_said(ct_run: Path, tmp_path: Path) -> None:
    for file in series(tmp_path / "in" / "P0").iterdir():
        data = pydicom.dcmread(file)
        data.ImageOrientationPatient = [1, 0, 0, 0, float(np.cos(0.35)), float(-np.sin(0.35))]
        data.save_as(file)
    rows, problems, notes = predicted(ct_run, tmp_path / "in", tmp_path / "out")
    assert (list(rows), problems) == (["P0"], [])
    assert any("gantry tilt taken out" in note for note in notes)


def test_scores_have_their_columns(ct_run: Path, pictures_run: Path, tmp_path: Path) -> None:
    rows, _, _ = predicted(ct_run, series(tmp_path / "in" / "P0").parent, tmp_path / "out")
    row = rows["P0"]
    assert tuple(row) == COLUMNS
    mask = nib.load(tmp_path / "out" / row["mask"])
    assert isinstance(mask, nib.Nifti1Image)
    assert (row["kind"], row["slices"], row["top_slice"]) == ("dicom", "5", "4")  # the dense block is in the top slice
    marked = int(np.asarray(mask.dataobj).sum())
    assert marked > 0
    assert (float(row["lesion_size"]), row["lesion_unit"]) == (pytest.approx(marked * 1.5 * 2 * 3), "mm3")
    assert 0 <= float(row["percentile"]) <= 100
    assert row["abnormal"] == ("yes" if float(row["percentile"]) > 95 else "no")
    rows, _, _ = predicted(pictures_run, put(tmp_path / "a.png", picture(100, lesion=True)[0]), tmp_path / "more")
    row = rows["a"]
    size = int((np.asarray(Image.open(tmp_path / "more" / row["mask"])) > 0).sum())
    assert (row["slices"], row["top_slice"], row["lesion_unit"], float(row["lesion_size"])) == ("1", "", "pixels", size)


def test_masks_among_the_images_are_said(pictures_run: Path, tmp_path: Path) -> None:
    notes = predicted(pictures_run, two_folders(tmp_path / "in", 2), tmp_path / "out")[2]
    assert notes == ["2 inputs: in a folder called as masks are, and predicted as images."]


def test_a_large_picture_is_predicted_at_the_size_of_the_method(pictures_run: Path, tmp_path: Path) -> None:
    large = np.kron(picture(100, lesion=True)[0], np.ones((12, 12), np.uint8))
    put(tmp_path / "in" / "large.png", large)
    rows, _, notes = predicted(pictures_run, tmp_path / "in", tmp_path / "out")
    assert notes == ["1 inputs: predicted at the method's 40 x 40 pixels."]
    raw = np.asarray(Image.open(tmp_path / "out" / "large_map.tiff"))
    assert raw.shape == (SIZE[0] * 12, SIZE[1] * 12)
    inside = raw[120:192, 96:168].mean()
    assert inside > np.quantile(raw, 0.95)
    assert float(rows["large"]["score"]) > raw.mean()


def test_ignored_files_are_counted(ct_run: Path, tmp_path: Path) -> None:
    folder = series(tmp_path / "in" / "P0")
    about = frame(folder / "about.dcm", picture(0)[0], modality="SEG")
    about.save_as(folder / "about.dcm", enforce_file_format=True)
    (folder / "notes.txt").write_text("none")
    rows, problems, notes = predicted(ct_run, tmp_path / "in", tmp_path / "out")
    assert (list(rows), problems) == (["P0"], [])
    assert "Ignored: 1 .txt, 1 DICOM without an image." in notes
