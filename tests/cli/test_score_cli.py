"""``uadbench score``: maps of outside systems."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk  # noqa: N813 (as its documentation has it)
from PIL import Image
from sklearn.metrics import average_precision_score

from tests.support.command import uadbench
from tests.support.folder_data import volumes
from tests.support.stores import write_store
from uadbench.core.catalog import DATASETS
from uadbench.core.dataset import no_progress
from uadbench.core.errors import DataError, UserError
from uadbench.core.roles import Role
from uadbench.data.preprocessing.intake import squared
from uadbench.data.reading.nifti import axial
from uadbench.data.storage.store import Item, Store, StoreWriter
from uadbench.datasets.folder import Folder
from uadbench.evaluation.protocol.protocol import load_protocol
from uadbench.runner.scoring.external import Claim, score_external
from uadbench.verification.verify_run import verify_run

STRICT = load_protocol("strict-v1")
CLAIM = Claim("their_system")


def write_maps(store: Store, folder: Path, *roles: Role) -> Path:
    """Writes the intensities as maps, one NPY a frame."""
    for role in roles:
        (folder / role.value).mkdir(parents=True)
        for item in store.role(role):
            np.save(folder / role.value / f"{item.uid}.npy", store.image(item)[0])
    return folder


@pytest.fixture(scope="module")
def tiny_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store that says what a registered dataset says, so that its records can be verified."""
    version = DATASETS.load("carotid_us").version
    return write_store(tmp_path_factory.mktemp("store") / "tiny", version=version, source="real", recipe="strict")


@pytest.fixture(scope="module")
def store(tiny_store: Path) -> Store:
    return Store(tiny_store)


@pytest.fixture(scope="module")
def maps(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_maps(store, tmp_path_factory.mktemp("outside") / "maps", Role.CALIB, Role.TEST)


def test_the_command_stores_a_complete_reported_entry(maps: Path, tiny_store: Path, tmp_path: Path) -> None:
    command = ["score", "--maps", str(maps), "--dataset", "carotid_us", "--source", str(tiny_store)]
    command += ["--name", "their_system"]
    result = uadbench(*command, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "Case AP" in result.stdout
    folder = next((tmp_path / "runs").glob("[0-9a-f]*"))
    assert {"record.json", "cases.csv", "curves.json", "config.yaml"} <= {file.name for file in folder.iterdir()}
    assert json.loads((folder / "verification.json").read_text()) == {"level": "reported"}
    record = json.loads((folder / "record.json").read_text())
    assert record["metrics"]["dice@healthy-fpr@0.01"]["value"] is not None
    assert record["metrics"]["image_auroc_own"]["value"] is None, "an outside system gave no image scores"
    assert record["dataset"]["ranked"]
    assert (record["method"]["preset"], record["ledger"]["tuning_labels"]) == ("external", "unknown")
    again = uadbench(*command, cwd=tmp_path)
    assert again.returncode == 2
    assert "already stored" in again.stderr
    assert uadbench(*command, "--seed", "1", "--json", cwd=tmp_path).returncode == 0
    verified = uadbench("verify", str(folder), "--source", str(tiny_store), cwd=tmp_path)
    assert verified.returncode == 0, verified.stdout
    assert "recomputed" in verified.stdout
    rerun = uadbench("verify", str(folder), "--source", str(tiny_store), "--rerun", cwd=tmp_path)
    assert rerun.returncode == 2
    assert "external system" in rerun.stderr


def test_the_numbers_are_those_of_the_maps(store: Store, maps: Path, tmp_path: Path) -> None:
    record, folder = score_external(maps, CLAIM, store, STRICT, tmp_path)
    table = pd.read_csv(folder / "cases.csv").set_index("case")
    item = next(item for item in store.role(Role.TEST) if item.lesion)
    body, truth = store.body(item), store.mask(item) == 1
    expected = average_precision_score(truth[body], store.image(item)[0][body])
    assert table.loc[item.uid, "ap"] == pytest.approx(expected)
    assert record.metrics["case_ap"].n_patients == 6


@pytest.mark.parametrize("suffix", [".tif", ".TIFF", ".NPY", ".nii.gz", ".mha", ".NRRD"])
def test_maps_are_read_in_every_format_that_images_are(store: Store, maps: Path, tmp_path: Path, suffix: str) -> None:
    for role in (Role.CALIB, Role.TEST):
        (tmp_path / "maps" / role.value).mkdir(parents=True)
        for file in (maps / role.value).iterdir():
            plane = np.load(file).astype(np.float32)
            target = tmp_path / "maps" / role.value / f"{file.stem}{suffix.lower()}"
            volume = np.ascontiguousarray(plane.T[::-1, ::-1, None])  # rows from front to back, columns from the right
            if suffix.lower() == ".npy":
                np.save(target, plane)
            elif suffix.lower() in (".tif", ".tiff"):
                Image.fromarray(plane).save(target)
            elif suffix == ".nii.gz":
                nib.Nifti1Image(volume, np.eye(4)).to_filename(target)
            else:
                image = sitk.GetImageFromArray(volume.transpose(2, 1, 0))
                image.SetDirection((-1, 0, 0, 0, -1, 0, 0, 0, 1))  # as RAS, since ITK counts to the left and the back
                sitk.WriteImage(image, str(target))
            target.rename(target.with_name(f"{file.stem}{suffix}"))
    plain, _ = score_external(maps, CLAIM, store, STRICT, tmp_path / "a")
    other, _ = score_external(tmp_path / "maps", CLAIM, store, STRICT, tmp_path / "b")
    assert other.metrics == plain.metrics


def test_maps_of_somebodys_volumes_are_sliced_as_the_volumes_were(tmp_path: Path) -> None:
    raw = volumes(tmp_path / "raw", lambda data: data, (5, 1, 2))
    Folder(keep_aspect=True).prepare(raw, tmp_path / "store", "strict", 1, no_progress)
    store = Store(tmp_path / "store")
    (tmp_path / "maps").mkdir()
    images = sorted([*(raw / "normal").iterdir(), *(raw / "abnormal").iterdir()], key=lambda path: path.name)
    for item in store.role(Role.TEST):
        file = next(one for one in images if _shows(store, item, one))
        (tmp_path / "maps" / f"{item.case}.nii.gz").write_bytes(file.read_bytes())
    record, _ = score_external(tmp_path / "maps", CLAIM, store, STRICT, tmp_path / "runs")
    assert record.metrics["case_ap"].value == pytest.approx(1.0, abs=0.02), "the lesion is the brightest of its volume"


def _shows(store: Store, item: Item, file: Path) -> bool:
    """Whether an image of a store is of a volume: they correlate over the body."""
    image = nib.load(file)
    assert isinstance(image, nib.Nifti1Image)
    plane = axial(np.moveaxis(np.asarray(image.dataobj), 0, 2), item.index)
    body = store.body(item)
    ours = store.image(item)[0][body]
    theirs = squared(plane, (2.0, 1.0), 0)[0][body]
    return bool(np.corrcoef(ours, theirs)[0, 1] > 0.9)


def test_test_maps_alone_give_ap_and_oracle_and_are_never_ranked(store: Store, maps: Path, tmp_path: Path) -> None:
    flat = shutil.copytree(maps / "test", tmp_path / "flat")
    record, _ = score_external(flat, CLAIM, store, STRICT, tmp_path / "runs")
    assert record.metrics["case_ap"].value is not None
    assert record.metrics["dice@oracle"].value is not None
    assert record.metrics["dice@healthy-fpr@0.01"].value is None
    assert not record.dataset.ranked
    assert any("never ranked" in note for note in record.dataset.notes)


Edit = Callable[[Path, Item], object]


def _write(**changes: object) -> Edit:
    array = changes["array"]
    return lambda folder, item: np.save(folder / f"{item.uid}.npy", np.asarray(array))


BAD: dict[str, tuple[Edit, str]] = {
    "missing": (lambda folder, item: (folder / f"{item.uid}.npy").unlink(), "lacks maps of 1 of 36 cases: {uid}"),
    "extra": (lambda folder, _: np.save(folder / "who.npy", np.zeros(3)), "who.npy, which belongs to no case"),
    "another format": (lambda folder, _: (folder / "notes.txt").write_text("x"), "notes.txt"),
    "shape": (_write(array=np.zeros((40, 41))), "{uid}.npy has the shape (40, 41) instead of (1, 40, 40)"),
    "nan": (_write(array=np.full((40, 40), np.nan)), "{uid}.npy holds NaN"),
    "too large for float32": (_write(array=np.full((40, 40), 1e300)), "{uid}.npy holds NaN or infinite"),
    "complex": (_write(array=np.zeros((40, 40), complex)), "{uid}.npy holds complex128"),
    "pickled objects": (_write(array=np.array([{}], object)), "{uid}.npy is not a readable NPY"),
    "no NPY": (lambda folder, item: (folder / f"{item.uid}.npy").write_text("x"), "{uid}.npy is not a readable NPY"),
    "doubled": (
        lambda folder, item: nib.save(  # pyright: ignore[reportPrivateImportUsage]
            nib.Nifti1Image(np.zeros((40, 40, 1), np.float32), np.eye(4)), folder / f"{item.uid}.nii.gz"
        ),
        "two maps of {uid}",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_files_are_named_and_nothing_is_left(store: Store, maps: Path, tmp_path: Path, name: str) -> None:
    edit, message = BAD[name]
    copy = shutil.copytree(maps, tmp_path / "maps")
    item = store.role(Role.TEST)[4]
    edit(copy / "test", item)
    with pytest.raises(DataError) as error:
        score_external(copy, CLAIM, store, STRICT, tmp_path / "runs")
    assert message.format(uid=item.uid) in str(error.value)
    left = [file for file in (tmp_path / "runs").rglob("*") if file.suffix != ".lock"]
    assert left == []


def test_a_bad_replacement_costs_nothing(store: Store, maps: Path, tmp_path: Path) -> None:
    record, folder = score_external(maps, CLAIM, store, STRICT, tmp_path / "runs")
    before = (folder / "record.json").read_bytes()
    copy = shutil.copytree(maps, tmp_path / "maps")
    np.save(copy / "test" / f"{store.role(Role.TEST)[0].uid}.npy", np.full((40, 40), np.inf))
    with pytest.raises(DataError, match="infinite"):
        score_external(copy, CLAIM, store, STRICT, tmp_path / "runs", fresh=True)
    assert (folder / "record.json").read_bytes() == before
    again, _ = score_external(maps, CLAIM, store, STRICT, tmp_path / "runs", fresh=True)
    assert again.metrics == record.metrics


FOLDERS: dict[str, Callable[[Path], object]] = {
    "not a folder": lambda maps: maps.rename(maps.with_name("gone")),
    "holds the folder train": lambda maps: (maps / "train").mkdir(),
    "no folder test": lambda maps: shutil.rmtree(maps / "test"),
    "loose.npy next to its folders": lambda maps: (maps / "loose.npy").write_text(""),
}


@pytest.mark.parametrize("message", FOLDERS)
def test_bad_folders_are_named(store: Store, maps: Path, tmp_path: Path, message: str) -> None:
    copy = shutil.copytree(maps, tmp_path / "maps")
    change = FOLDERS[message]
    change(copy)
    with pytest.raises(DataError, match=message):
        score_external(copy, CLAIM, store, STRICT, tmp_path / "runs")


@pytest.mark.parametrize("name", ["Their System", "../up", "synomaly", ""])
def test_names_that_could_mislead_are_refused(store: Store, maps: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match=r"not allowed|method of this benchmark"):
        score_external(maps, Claim(name), store, STRICT, tmp_path)


def test_volumes_are_read_from_nifti_in_any_orientation(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    sizes = {"a": (12, 10), "b": (9, 14)}  # cases of different sizes
    volumes = {case: rng.random((columns, rows, 5)).astype(np.float32) for case, (rows, columns) in sizes.items()}
    with StoreWriter(
        tmp_path / "store",
        dataset="brain_mri",
        version=DATASETS.load("brain_mri").version,
        source="real",
        recipe="strict",
        ranked=False,
    ) as writer:
        for case, (rows, columns) in sizes.items():
            for z in (1, 2, 4):
                mask = np.zeros((rows, columns), np.uint8)
                mask[2:5, 3:6] = 1
                writer.add(
                    uid=f"{case}-z{z}",
                    case=case,
                    patient=case,
                    role=Role.TEST,
                    cohort="t",
                    image=np.zeros((1, rows, columns)),
                    body=np.ones((rows, columns)),
                    mask=mask,
                    index=z,
                    spacing=(1.0, 1.0),
                    thickness=2.0,
                )
    store = Store(tmp_path / "store")
    flipped = np.diag([-1.0, 1.0, 2.0, 1.0])  # stored from left to right
    for folder, affine, step in (("ras", np.diag([1.0, 1.0, 2.0, 1.0]), 1), ("las", flipped, -1)):
        (tmp_path / folder).mkdir()
        for case, volume in volumes.items():
            image = nib.Nifti1Image(volume[::step], affine)  # pyright: ignore[reportPrivateImportUsage]
            nib.save(image, tmp_path / folder / f"{case}.nii.gz")  # pyright: ignore[reportPrivateImportUsage]
    (tmp_path / "npy").mkdir()
    for case, volume in volumes.items():
        np.save(tmp_path / "npy" / f"{case}.npy", np.stack([axial(volume, z) for z in (1, 2, 4)]))
    tables = [
        (score_external(tmp_path / kind, CLAIM, store, STRICT, tmp_path / f"runs-{kind}")[1] / "cases.csv").read_bytes()
        for kind in ("ras", "las", "npy")
    ]
    assert tables[0] == tables[1] == tables[2]
    result = verify_run(next((tmp_path / "runs-npy").glob("[0-9a-f]*")), str(store.path), None, no_progress)
    assert result.problems == []
