"""Slices of volumes in files of their own: ``predict`` scales them together with those that ``prepare`` would."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest

from tests.support.folder_data import SIZE, put, series, table
from uadbench.core.dataset import no_progress
from uadbench.core.errors import DataError
from uadbench.data.reading.incoming import Incoming, as_slices, find_incoming
from uadbench.data.reading.region import Regions
from uadbench.data.storage.store import Store
from uadbench.datasets.folder.dataset import Folder
from uadbench.inference.loose_slices import BY_FOLDER, group_scales
from uadbench.inference.new_images import apply_run
from uadbench.inference.new_planes import ScaleOfTraining, read_planes
from uadbench.runner.execution.run import execute
from uadbench.runner.planning.plan import plan_run

PATIENTS = 4


def plane(patient: int, z: int) -> np.ndarray:
    """Tissue on an empty background, brighter from slice to slice and from patient to patient."""
    pixels = np.zeros(SIZE, np.uint16)
    rng = np.random.default_rng(10 * patient + z)
    pixels[6:34, 6:30] = rng.integers(100, 140, (28, 24)) * (1 + patient) * (2 + z)
    return pixels


def prepare(source: Path, out: Path, **options: Any) -> Store:
    Folder(**options).prepare(source, out, "strict", 1, no_progress)
    return Store(out)


def dicom(raw: Path, *, own_series: bool = False) -> Path:
    """A folder of MR slices per patient, listed slice by slice."""
    rows: list[dict[str, Any]] = []
    for patient in range(PATIENTS):
        for z, file in enumerate(sorted(series(raw / f"p{patient}", modality="MR").iterdir())):
            data = pydicom.dcmread(file)
            data.PatientID, data.RescaleIntercept = f"P{patient}", 0
            data.PixelData = plane(patient, z).astype("<u2").tobytes()
            if own_series:
                data.SeriesInstanceUID = f"1.2.{patient}.{z}"
            data.save_as(file)
            rows.append({"image": file.relative_to(raw).as_posix(), "patient": f"P{patient}", "slice": z})
    return table(raw, rows)


def pictures(raw: Path, name: str) -> Path:
    """The same slices as pictures: healthy ones, called by a format of patient, series and slice."""
    for patient in range(PATIENTS):
        for z in range(4):
            put(raw / "normal" / name.format(patient=patient, series="ab"[z % 2], z=z), plane(patient, z))
    return raw


def found_in(store: Store, source: Path) -> list[Incoming]:
    found = find_incoming(source)
    return as_slices(source, found) if store.manifest.intake and store.manifest.intake.loose else found


def check_alike(store: Store, source: Path) -> Counter[str]:
    """Checks that every item is what ``predict`` makes of its file; returns the notes."""
    found, notes = found_in(store, source), Counter[str]()
    groups = group_scales(store.manifest.intake, found, notes)
    scale = ScaleOfTraining(Folder(), "strict", store.manifest.intake, 1)
    planes = [read_planes(scale, one, Regions(), group=groups[one.name]) for one in found]
    ours = {one.planes[0].tobytes() + one.bodies[0].tobytes() for one in planes}
    assert {store.image(item).tobytes() + store.body(item).tobytes() for item in store.items} == ours
    assert len(ours) == len(store.items) == len(found)
    return notes


@pytest.mark.parametrize("own_series", [False, True])
def test_listed_slices_of_dicom_are_scaled_together_and_numbered(tmp_path: Path, own_series: bool) -> None:
    raw = dicom(tmp_path / "raw", own_series=own_series)
    store = prepare(raw, tmp_path / "out")
    assert store.manifest.modality == "mr"
    cases = {item.case: [one.index for one in store.items if one.case == item.case] for item in store.items}
    assert list(cases.values()) == [[0, 1, 2, 3, 4]] * PATIENTS
    means = [float(store.image(item)[0][store.body(item)].mean()) for item in store.items]
    for first in range(0, len(means), 5):
        assert means[first : first + 5] == sorted(means[first : first + 5])  # slices keep their relative brightness
        assert means[first + 4] - means[first] > 0.5
    assert not check_alike(store, raw)


def test_listed_slices_of_dicom_are_as_those_of_png(tmp_path: Path) -> None:
    store = prepare(dicom(tmp_path / "dicom"), tmp_path / "a")
    rows = [
        {"image": f"{patient}-{z}.png", "patient": f"P{patient}", "slice": z}
        for patient in range(PATIENTS)
        for z in range(5)
    ]
    for patient in range(PATIENTS):
        for z in range(5):
            put(tmp_path / "png" / f"{patient}-{z}.png", plane(patient, z))
    same = prepare(table(tmp_path / "png", rows), tmp_path / "b")
    for one, other in zip(store.items, same.items, strict=True):
        assert (one.case, one.index) == (other.case, other.index)
        np.testing.assert_array_equal(store.image(one), same.image(other))


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        (r"P(\d+)_", "P{patient}_{series}_{z}.png"),
        (r"(?P<series>[ab])_P(?P<patient>\d+)_(?P<slice>\d+)\.png$", "{series}_P{patient}_{z}.png"),
    ],
)
def test_a_pattern_names_the_volume_of_a_slice(tmp_path: Path, pattern: str, name: str) -> None:
    raw = pictures(tmp_path / "raw", name)
    assert not check_alike(prepare(raw, tmp_path / "out", modality="mr", patient_pattern=pattern), raw)


def test_pictures_without_patients_are_volumes_of_their_own(tmp_path: Path) -> None:
    raw = pictures(tmp_path / "raw", "{patient}{series}{z}.png")
    assert not check_alike(prepare(raw, tmp_path / "out", modality="mr"), raw)


def test_slices_of_which_nothing_is_known_are_those_of_their_folder_and_this_is_said(tmp_path: Path) -> None:
    raw, rows = tmp_path / "raw", list[dict[str, Any]]()
    for patient in range(PATIENTS):
        for z in range(3):
            file = put(raw / f"p{patient}" / f"{z}.png", plane(patient, z))
            rows.append({"image": file.relative_to(raw).as_posix(), "patient": f"P{patient}", "slice": z})
    store = prepare(table(raw, rows), tmp_path / "out")
    assert check_alike(store, raw) == {BY_FOLDER: 3 * PATIENTS}


@pytest.mark.parametrize("kind", ["png", "dicom", "header"])
def test_a_damaged_slice_costs_its_volume_and_no_other(tmp_path: Path, kind: str) -> None:
    if kind != "png":
        raw = dicom(tmp_path / "raw")
        store, bad = prepare(raw, tmp_path / "out"), raw / "p1" / "2.dcm"
        bad.write_bytes(bad.read_bytes()[: -100 if kind == "dicom" else 140])
    else:
        raw = pictures(tmp_path / "raw", "P{patient}_{z}.png")
        store = prepare(raw, tmp_path / "out", modality="mr", patient_pattern=r"P(\d+)_")
        bad = raw / "normal" / "P1_2.png"
        bad.write_bytes(b"damaged")
    found = found_in(store, raw)
    groups = group_scales(store.manifest.intake, found, Counter())
    scale = ScaleOfTraining(Folder(), "strict", store.manifest.intake, 1)
    failed: dict[str, str] = {}
    for one in found:
        try:
            read_planes(scale, one, Regions(), group=groups[one.name])
        except DataError as error:
            failed[str(one.first)] = error.message
    assert len(failed) == (4 if kind == "png" else 5)
    assert all("p1/" in file or "P1_" in file for file in failed)
    assert all(str(bad) in message and file in message for file, message in failed.items())


def test_predict_takes_the_slices_of_a_series_apart_if_the_store_did(tmp_path: Path) -> None:
    raw = dicom(tmp_path / "raw")
    prepare(raw, tmp_path / "store")
    plan = plan_run(method="intensity", train=Store(tmp_path / "store"), preset="smoke", overrides={"image_size": 40})
    run = execute(plan, root=tmp_path / "runs", device="cpu")[1]
    (raw / "p1" / "2.dcm").write_bytes((raw / "p1" / "2.dcm").read_bytes()[:-100])
    applied = apply_run(run, raw, tmp_path / "out", "cpu", no_progress)
    wanted = [f"p{patient}/{z}" for patient in (0, 2, 3) for z in range(5)]
    assert [row["input"] for row in applied.rows] == wanted
    assert len(applied.problems) == 5
    assert all(f"p1{os.sep}2.dcm" in problem for problem in applied.problems)
    assert {row["top_slice"] for row in applied.rows} == {""}
    assert (tmp_path / "out" / "p0" / "0_heatmap.png").is_file()
    scores = [row["score"] for row in applied.rows if row["input"].startswith("p0/")]
    assert np.ptp(scores) > 0.3  # by a scale of its own each slice would look the same
