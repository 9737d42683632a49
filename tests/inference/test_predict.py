"""``uadbench predict``: new images get the maps that the benchmark would have given them, on their own grid."""

from __future__ import annotations

import csv
import json
import locale
import shutil
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import SimpleITK
from nibabel.orientations import apply_orientation, axcodes2ornt, inv_ornt_aff, ornt_transform
from PIL import Image
from typer.testing import CliRunner

from tests.support.chaos_data import patient as chaos_patient
from tests.support.pictures import grey
from tests.support.stores import SIZE, write_store
from uadbench.cli import app
from uadbench.core.dataset import Recipe, no_progress
from uadbench.core.errors import DataError
from uadbench.core.roles import Role
from uadbench.data.preprocessing.body import extracted_body
from uadbench.data.preprocessing.incoming_scale import NewImage, normalise_new
from uadbench.data.preprocessing.intake import Intake
from uadbench.data.preprocessing.normalise import grey_scale, mr_scale
from uadbench.data.reading.incoming import find_incoming, read_frame, read_new_volume
from uadbench.data.reading.nifti import axial
from uadbench.data.reading.region import Regions
from uadbench.data.storage.store import Store
from uadbench.datasets.brain_mri.cases import Case, convert
from uadbench.datasets.brain_mri.dataset import BrainMri
from uadbench.datasets.carotid_us.dataset import CarotidUS
from uadbench.datasets.folder import slices as folder_slices
from uadbench.datasets.folder.dataset import Folder
from uadbench.datasets.folder.rows import Row
from uadbench.datasets.liver_ct import cases as liver_cases
from uadbench.datasets.liver_ct.dataset import LiverCT
from uadbench.inference.fitted import load_fitted
from uadbench.inference.new_images import apply_run
from uadbench.runner.execution.predictions import predict_arrays
from uadbench.runner.execution.run import execute
from uadbench.runner.planning.plan import plan_run
from uadbench.runner.storage.stored_cases import to_native

SPACING = (2.0, 2.0, 4.0)


def trained(root: Path, store: Path, method: str, **overrides: Any) -> Path:
    plan = plan_run(method=method, train=Store(store), preset="smoke", overrides=overrides)
    return execute(plan, root=root, device="cpu")[1]


@pytest.fixture(scope="module")
def frames_run(tiny_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(tmp_path_factory.mktemp("runs"), tiny_store, "autoencoder")


@pytest.fixture(scope="module")
def volumes_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose map is the normalised image itself: where a voxel of it lies is known."""
    root = tmp_path_factory.mktemp("brain")
    store = write_store(root / "store", dataset="brain_mri", frames=1)
    return trained(root / "runs", store, "intensity", image_size=SIZE)


def head() -> np.ndarray:
    """A lopsided head, (x, y, z) in RAS, with an empty background."""
    rng = np.random.default_rng(0)
    x, y, z = np.mgrid[:SIZE, :SIZE, :6]
    body = (x - 18) ** 2 + (y - 21) ** 2 < 16**2
    return np.where(body, 100 + x + 2 * y + 5 * z + rng.uniform(0, 20, body.shape), 0).astype(np.float32)


def save(path: Path, data: np.ndarray, axes: str = "RAS", *, tilt: float = 0.0) -> Path:
    """Saves a RAS volume in another orientation, oblique by ``tilt`` radians."""
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(tilt), -np.sin(tilt)], [np.sin(tilt), np.cos(tilt)]]
    affine = turn @ np.diag([*SPACING, 1.0])
    affine[:3, 3] = (-30, 12, 5)
    to = ornt_transform(axcodes2ornt("RAS"), axcodes2ornt(axes))
    nib.save(nib.Nifti1Image(apply_orientation(data, to), affine @ inv_ornt_aff(to, data.shape)), path)
    return path


def read(path: Path) -> Any:
    return nib.load(path)


def rows_of(out: Path) -> list[dict[str, str]]:
    with (out / "scores.csv").open() as file:
        return list(csv.DictReader(file))


def test_a_stored_image_gets_the_map_that_the_run_gave_it(frames_run: Path, tiny_store: Path) -> None:
    store = Store(tiny_store)
    items = store.role(Role.TEST)
    images = np.stack([store.image(item) for item in items])
    bodies = np.stack([store.body(item) for item in items])
    fitted = load_fitted(frames_run, "cpu")
    maps, scores = predict_arrays(fitted.predict, images, bodies, fitted.spec)
    stored = np.load(frames_run / "maps/test/maps.npy")
    assert np.array_equal(maps, to_native(stored, (SIZE, SIZE)))
    assert np.array_equal(scores, np.load(frames_run / "maps/test/scores.npy"))


def test_frames_are_scaled_as_the_dataset_scales_them() -> None:
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    image, body = normalise_new(CarotidUS(), NewImage(levels[None].astype(np.float32)), "strict-momot-v2")
    assert np.array_equal(image[0], grey_scale(levels).astype(np.float16).astype(np.float32))
    assert body.all()


def test_volumes_are_scaled_as_the_dataset_scales_them(tmp_path: Path) -> None:
    file = save(tmp_path / "a.nii.gz", head(), "LPS")
    slices = convert(Case("a", "a", Role.TEST, file))
    volume = read_new_volume(find_incoming(file)[0])
    image, body = normalise_new(BrainMri(), NewImage(volume.data, volume.spacing), "strict")
    assert np.flatnonzero(body.any((0, 1))).tolist() == slices.index
    ours = np.stack([image[::-1, ::-1, z].T for z in slices.index])
    assert np.array_equal(ours, slices.image[:, 0].astype(np.float16).astype(np.float32))


@pytest.mark.parametrize("kind", ["picture", "magnitude", "ct"])
def test_own_images_are_scaled_as_folder_scales_them(tmp_path: Path, kind: str) -> None:
    if kind == "picture":
        file = grey(tmp_path / "a.png")
    else:
        volume = head() if kind == "magnitude" else np.where(head() > 0, head() * 3 - 500, -1000).astype(np.float32)
        file = save(tmp_path / "a.nii.gz", volume, "LPS")
    found = find_incoming(file)[0]
    slices = folder_slices.convert(folder_slices.Conversion(Row(found, abnormal=False), Intake())).slices
    if kind == "picture":
        image, body = normalise_new(Folder(), NewImage(read_frame(found, 1)), "strict")
        ours, inside = image, body[None]
    else:
        new = read_new_volume(found)
        image, body = normalise_new(Folder(), NewImage(new.data, new.spacing), "strict")
        ours = np.stack([axial(image, z) for z in np.flatnonzero(body.any((0, 1))).tolist()])
        inside = np.stack([axial(body, z) for z in np.flatnonzero(body.any((0, 1))).tolist()])
    theirs = np.stack([one.image[0] for one in slices]).astype(np.float16)
    assert np.array_equal(ours, theirs.astype(np.float32))
    assert np.array_equal(inside, np.stack([one.body for one in slices]))


@pytest.mark.parametrize(("axes", "tilt"), [("RAS", 0.0), ("LPS", 0.3), ("PIR", 0.0), ("SAL", -0.2)])
def test_a_heat_map_lies_on_its_volume(volumes_run: Path, tmp_path: Path, axes: str, tilt: float) -> None:
    file = save(tmp_path / "v.nii.gz", head(), axes, tilt=tilt)
    applied = apply_run(volumes_run, file, tmp_path / "out", "cpu", no_progress)
    assert not applied.problems
    original, heat = read(file), read(tmp_path / "out/v_heatmap.nii.gz")
    assert np.allclose(heat.affine, original.affine)
    assert heat.header["sform_code"] == original.header["sform_code"]
    data = np.asarray(original.dataobj)
    body = extracted_body(head())
    wanted = apply_orientation(mr_scale(head(), body), ornt_transform(axcodes2ornt("RAS"), axcodes2ornt(axes)))
    inside = data > 0
    assert np.allclose(np.asarray(heat.dataobj)[inside], wanted[inside], atol=1e-3)
    assert np.ptp(np.asarray(heat.dataobj)[~inside]) == 0


def test_a_dicom_series_gets_the_map_of_its_nifti(volumes_run: Path, tmp_path: Path) -> None:
    series = tmp_path / "in" / "series"
    series.mkdir(parents=True)
    data = np.round(head()).astype(np.int16)
    before = locale.setlocale(locale.LC_CTYPE)
    image = SimpleITK.GetImageFromArray(data[::-1, ::-1].T)  # DICOM counts from the left and the back
    image.SetSpacing(SPACING)
    image.SetOrigin((30 - 2.0 * (SIZE - 1), -12 - 2.0 * (SIZE - 1), 5))
    for z in range(data.shape[2]):
        plane = image[:, :, z]
        for tag, value in {
            "0010|0010": "Doe^Jane",
            "0010|0020": "secret-id",
            "0008|0060": "MR",
            "0020|000e": "1.2.3",
            "0020|000d": "1.2",
            "0020|0032": "\\".join(map(str, image.TransformIndexToPhysicalPoint((0, 0, z)))),
            "0020|0037": "1\\0\\0\\0\\1\\0",
            "0020|0013": str(z),
        }.items():
            plane.SetMetaData(tag, value)
        writer = SimpleITK.ImageFileWriter()
        writer.KeepOriginalImageUIDOn()
        writer.SetFileName(str(series / f"{9 - z}.dcm"))
        writer.Execute(plane)
    locale.setlocale(locale.LC_CTYPE, before)  # SimpleITK's DICOM writer leaves the locale "C" behind
    save(tmp_path / "in" / "same.nii.gz", data.astype(np.float32))
    assert not apply_run(volumes_run, tmp_path / "in", tmp_path / "out", "cpu", no_progress).problems
    ours, same = (
        nib.as_closest_canonical(read(tmp_path / f"out/{name}_heatmap.nii.gz")) for name in ("series", "same")
    )
    assert np.allclose(ours.affine, same.affine)
    assert np.allclose(np.asarray(ours.dataobj), np.asarray(same.dataobj))
    written = b"".join(file.read_bytes() for file in (tmp_path / "out").iterdir())
    assert b"Doe" not in written
    assert b"secret-id" not in written


def test_bad_files_are_named_and_the_others_are_done(frames_run: Path, tmp_path: Path) -> None:
    source = tmp_path / "in"
    grey(source / "good.png")
    grey(source / "sub" / "good.png", seed=1)
    (source / "cut.png").write_bytes(grey(source / "whole.tif").read_bytes()[:100])
    Image.new("L", (SIZE, SIZE), 7).save(source / "flat.png")
    (source / "notes.txt").write_text("no image")
    save(source / "volume.nii.gz", head())
    out = tmp_path / "out"
    result = CliRunner().invoke(app, ["predict", "--run", str(frames_run), "--input", str(source), "--out", str(out)])
    assert isinstance(result.exception, DataError)
    assert result.exception.exit_code == 2
    assert "3 of 6" in str(result.exception)
    for name in ("cut.png", "flat.png", "volume.nii.gz"):
        assert name in result.stderr
    assert "notes.txt" not in result.stderr
    assert [row["input"] for row in rows_of(out)] == ["good", "sub/good", "whole"]
    heat = np.asarray(Image.open(out / "sub/good_heatmap.png"))
    assert heat.shape == (SIZE, SIZE, 3)
    raw = np.asarray(Image.open(out / "good_map.tiff"))
    assert raw.dtype == np.float32
    assert float(rows_of(out)[0]["score"]) == pytest.approx(np.sort(raw.ravel())[-16:].mean(), rel=1e-4)
    assert not list(out.rglob(".tmp*"))


def test_a_map_depends_on_the_image_and_never_on_its_name(tiny_store: Path, tmp_path: Path) -> None:
    run = trained(tmp_path / "runs", tiny_store, "random")
    grey(tmp_path / "one/a.png")
    grey(tmp_path / "many/b.png", seed=3)
    shutil.copyfile(tmp_path / "one/a.png", tmp_path / "many/z.png")
    for name in ("one", "many"):
        apply_run(run, tmp_path / name, tmp_path / f"{name}-out", "cpu", no_progress)
    assert (tmp_path / "one-out/a_map.tiff").read_bytes() == (tmp_path / "many-out/z_map.tiff").read_bytes()
    assert (tmp_path / "one-out/a_map.tiff").read_bytes() != (tmp_path / "many-out/b_map.tiff").read_bytes()


def test_deep_and_coloured_pictures_are_read(frames_run: Path, tmp_path: Path) -> None:
    levels = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE)).astype(np.uint8)
    Image.fromarray(levels).save(tmp_path / "a.png")
    Image.fromarray(levels.astype(np.uint16) * 257).save(tmp_path / "b.png")
    Image.fromarray(np.stack([levels] * 3, -1)).save(tmp_path / "c.tif")
    apply_run(frames_run, tmp_path, tmp_path.with_name("out-deep"), "cpu", no_progress)
    assert len({row["score"] for row in rows_of(tmp_path.with_name("out-deep"))}) == 1


def test_one_stem_and_two_suffixes_do_not_collide(tmp_path: Path) -> None:
    for name in ("a.png", "a.tif", "b.png"):
        grey(tmp_path / name)
    assert [each.name for each in find_incoming(tmp_path)] == ["a.png", "a.tif", "b"]


def test_what_cannot_be_applied_is_refused(frames_run: Path, tmp_path: Path) -> None:
    grey(tmp_path / "in/a.png")
    with pytest.raises(DataError, match="inside the input"):
        apply_run(frames_run, tmp_path / "in", tmp_path / "in/out", "cpu", no_progress)
    with pytest.raises(DataError, match="does not hold a finished run"):
        apply_run(tmp_path, tmp_path / "in", tmp_path / "out", "cpu", no_progress)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no image"):
        apply_run(frames_run, tmp_path / "empty", tmp_path / "out", "cpu", no_progress)
    with pytest.raises(DataError, match="does not exist"):
        apply_run(frames_run, tmp_path / "gone", tmp_path / "out", "cpu", no_progress)
    older = shutil.copytree(frames_run, tmp_path / "older")
    (older / "spec.json").unlink()
    assert load_fitted(older, "cpu").spec == load_fitted(frames_run, "cpu").spec
    broken = shutil.copytree(frames_run, tmp_path / "broken")
    (broken / "spec.json").write_text(json.dumps({"channels": "many"}))
    with pytest.raises(DataError, match="damaged"):
        apply_run(broken, tmp_path / "in", tmp_path / "out", "cpu", no_progress)
    assert not (tmp_path / "out").exists()


def liver_ct(folder: Path, axes: str = "RAS", name: str = "ct") -> tuple[Path, Path]:
    """A tiny abdomen in HU with its liver, in the orientation ``axes``; slices 0 and 5 show too little liver."""
    folder.mkdir(parents=True, exist_ok=True)
    x, y, z = np.mgrid[:SIZE, :SIZE, :6]
    organ = (x - 14) ** 2 + (y - 20) ** 2 < np.array([0, 190, 180, 200, 170, 20])[z]
    hu = np.where((x - 20) ** 2 + (y - 20) ** 2 < 350, 40 + 70 * organ + (x + 3 * y + z) % 7, -1000).astype(np.float32)
    return (
        save(folder / f"{name}.nii.gz", hu, axes),
        save(folder / f"{name}_liver_mask.nii.gz", organ.astype(np.float32), axes),
    )


@pytest.fixture(scope="module")
def liver_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on livers whose map is the normalised image itself."""
    root = tmp_path_factory.mktemp("liver")
    store = write_store(root / "store", dataset="liver_ct", frames=1)
    return trained(root / "runs", store, "intensity", image_size=SIZE)


@pytest.mark.parametrize(("axes", "recipe"), [("RAS", "strict"), ("LPS", "paper")])
def test_a_liver_is_scaled_as_prepare_scales_it(tmp_path: Path, axes: str, recipe: Recipe) -> None:
    image, liver = liver_ct(tmp_path, axes)
    slices = liver_cases.convert(liver_cases.Case("a", "a", Role.TEST, image, liver), recipe)
    found, masks = Regions().find(find_incoming(tmp_path), "liver")
    assert [each.name for each in found] == ["ct"]
    volume = read_new_volume(found[0])
    region = Regions().of_volume(masks["ct"], found[0], volume)
    ours, body = normalise_new(LiverCT(), NewImage(volume.data, volume.spacing, region=region), recipe)
    for one in slices:
        assert np.array_equal(axial(ours, one.index), one.image.astype(np.float16).astype(np.float32))
        assert np.array_equal(axial(body, one.index), one.body)
    if recipe == "strict":  # the paper selects slices by share, a new volume keeps what the liver fills
        assert np.flatnonzero(body.any((0, 1))).tolist() == [one.index for one in slices] == [1, 2, 3, 4]


@pytest.mark.parametrize("place", ["beside", "file", "folder"])
def test_a_raw_ct_gets_a_map_inside_its_liver(liver_run: Path, tmp_path: Path, place: str) -> None:
    source = tmp_path / "in"
    image, liver = liver_ct(source, "LPI")
    arguments: list[str] = []
    if place != "beside":
        (tmp_path / "roi").mkdir()
        liver = liver.rename(tmp_path / "roi" / "ct.nii.gz")
        labels = np.asarray(read(liver).dataobj) * 5 + 2  # 2 elsewhere, 7 the liver
        nib.save(nib.Nifti1Image(labels.astype(np.uint8), read(liver).affine), liver)
        arguments = ["--roi", str(liver if place == "file" else tmp_path / "roi"), "--roi-label", "7"]
    out = tmp_path / "out"
    command = ["predict", "--run", str(liver_run), "--input", str(source), "--out", str(out), *arguments]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    assert [row["input"] for row in rows_of(out)] == ["ct"]
    assert rows_of(out)[0]["slices"] == "4"
    heat = read(out / "ct_heatmap.nii.gz")
    assert np.allclose(heat.affine, read(image).affine)
    organ = np.asarray(read(liver).dataobj) == (1 if place == "beside" else 7)
    organ[..., [0, 5]] = False  # too little liver there
    values, hu = np.asarray(heat.dataobj), np.asarray(read(image).dataobj)
    assert np.allclose(values[organ], np.clip(hu[organ] / 75 - 1, -1, 1), atol=1e-3)
    assert np.ptp(values[~organ]) == 0


@pytest.mark.parametrize("place", ["patients", "patient", "series", "named"])
def test_a_raw_patient_of_chaos_gets_the_map_of_its_nifti(liver_run: Path, tmp_path: Path, place: str) -> None:
    folder = tmp_path / "CT" / "5"
    hu, liver = chaos_patient(folder, 5)
    if place == "named":
        (folder / "Ground").rename(tmp_path / "drawn")
    same = tmp_path / "same"
    same.mkdir()
    for name, data in (("ct", hu), ("ct_liver", liver)):
        nib.save(nib.Nifti1Image(data, np.diag([3, 3, 3.2, 1])), same / f"{name}.nii.gz")
    source = {"patients": tmp_path / "CT", "series": folder / "DICOM_anon"}.get(place, folder)
    out = tmp_path / "out"
    command = ["predict", "--run", str(liver_run), "--input", str(source), "--out", str(out)]
    result = CliRunner().invoke(app, [*command, *(["--roi", str(tmp_path / "drawn")] if place == "named" else [])])
    assert result.exit_code == 0, result.output
    name = "5/DICOM_anon" if place == "patients" else "DICOM_anon"
    assert [row["input"] for row in rows_of(out)] == [name]
    assert not apply_run(liver_run, same, tmp_path / "nifti", "cpu", no_progress).problems
    ours = nib.as_closest_canonical(read(out / f"{name}_heatmap.nii.gz"))
    theirs = np.asarray(read(tmp_path / "nifti/ct_heatmap.nii.gz").dataobj)
    np.testing.assert_array_equal(np.asarray(ours.dataobj), theirs)
    assert len(np.unique(theirs)) > 100
    assert "Donor" not in str(ours.header)


def test_a_patient_of_chaos_that_cannot_be_used_costs_none_of_the_others(liver_run: Path, tmp_path: Path) -> None:
    for number, name in enumerate(("good", "few", "none", "inverted"), 1):
        folder = tmp_path / "CT" / name
        chaos_patient(folder, number)
        masks = sorted((folder / "Ground").iterdir())
        if name == "few":
            masks[2].unlink()
        elif name == "none":
            shutil.rmtree(folder / "Ground")
        elif name == "inverted":
            for mask in masks:
                Image.fromarray(255 - np.asarray(Image.open(mask).convert("L"))).save(mask)
    applied = apply_run(liver_run, tmp_path / "CT", tmp_path / "out", "cpu", no_progress)
    assert [row["input"] for row in applied.rows] == ["good/DICOM_anon"]
    few, inverted, none = applied.problems
    assert "6 slices" in few
    assert "5 masks" in few
    assert "none" in none
    assert "--roi FILE or DIR" in none
    assert "inverted" in inverted
    assert "belongs to other slices" in inverted


def test_a_liver_without_a_usable_mask_is_named(liver_run: Path, tmp_path: Path) -> None:
    for name in ("good", "none", "small", "grid", "many"):
        liver = liver_ct(tmp_path / "in", name=name)[1]
        data = np.asarray(read(liver).dataobj)
        if name == "none":
            liver.unlink()
        elif name == "small":
            save(liver, np.where(np.arange(SIZE)[:, None, None] < 12, data, 0))
        elif name == "grid":
            save(liver, data[:-1])
        elif name == "many":
            save(liver, data * 2 + (data.cumsum(0) == 1))
    applied = apply_run(liver_run, tmp_path / "in", tmp_path / "out", "cpu", no_progress)
    assert [row["input"] for row in applied.rows] == ["good"]
    said = dict(zip(("grid", "many", "none", "small"), applied.problems, strict=True))
    assert all(name in text for name, text in said.items())
    assert "another grid" in said["grid"]
    assert "--roi-label" in said["many"]
    assert "--roi FILE" in said["none"]
    assert "of liver" in said["small"]
    with pytest.raises(DataError, match="one mask for 8 inputs"):
        apply_run(
            liver_run,
            tmp_path / "in",
            tmp_path / "out",
            "cpu",
            no_progress,
            Regions(tmp_path / "in" / "good_liver_mask.nii.gz"),
        )
    with pytest.raises(DataError, match="does not exist"):
        apply_run(liver_run, tmp_path / "in", tmp_path / "out", "cpu", no_progress, Regions(tmp_path / "gone"))


def test_a_brain_mask_makes_a_head_usable_and_a_frame_takes_one(
    volumes_run: Path, frames_run: Path, tmp_path: Path
) -> None:
    whole = head() + 1  # no empty background
    (tmp_path / "in").mkdir()
    save(tmp_path / "in" / "v.nii.gz", whole)
    brain = save(tmp_path / "brain.nii.gz", (head() > 0).astype(np.float32))
    bad = apply_run(volumes_run, tmp_path / "in", tmp_path / "no", "cpu", no_progress).problems
    assert "--roi" in bad[0]
    assert not apply_run(volumes_run, tmp_path / "in", tmp_path / "out", "cpu", no_progress, Regions(brain)).problems
    grey(tmp_path / "frames/a.png")
    half = np.zeros((SIZE, SIZE), np.uint8)
    half[:, : SIZE // 2] = 255
    (tmp_path / "rois").mkdir()
    Image.fromarray(half).save(tmp_path / "rois/a_roi.png")
    source = tmp_path / "frames"
    part = apply_run(frames_run, source, tmp_path / "f", "cpu", no_progress, Regions(tmp_path / "rois"))
    raw = np.asarray(Image.open(tmp_path / "f/a_map.tiff"))
    assert part.rows[0]["score"] == pytest.approx(np.sort(raw[half > 0])[-8:].mean(), rel=1e-4)
