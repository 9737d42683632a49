"""Lesions of DICOM inputs as DICOM segmentations: read back, they mark what the masks of predict mark."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
from nibabel.affines import apply_affine
from numpy.typing import NDArray
from typer.testing import CliRunner

from tests.support.folder_data import SIZE, put, series
from uadbench.cli import app
from uadbench.core.dataset import no_progress
from uadbench.data.reading.dicom import read_geometry
from uadbench.data.storage.store import Store
from uadbench.datasets.folder import Folder
from uadbench.inference.new_images import apply_run
from uadbench.runner.execution.run import execute
from uadbench.runner.planning.plan import plan_run

LESION = (slice(20, 26), slice(5, 12))


def turn(folder: Path, *, direction: list[float], step: list[float]) -> Path:
    """Lays the slices of a series in another direction, and marks slices 1 and 2 with a bright block."""
    for file in folder.iterdir():
        data, z = pydicom.dcmread(file), int(file.stem)
        data.ImageOrientationPatient = direction
        data.ImagePositionPatient = [10 + step[0] * z, -20 + step[1] * z, 5 + step[2] * z]
        pixels = data.pixel_array.copy()
        pixels[30:36, 28:34] = 1064
        if z in (1, 2):
            pixels[LESION] = 1240
        data.PixelData = pixels.tobytes()
        data.save_as(file)
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on CT whose map is the image itself."""
    root = tmp_path_factory.mktemp("ct")
    for n in range(8):
        for file in series(root / "raw" / "normal" / f"p{n}").iterdir():
            data = pydicom.dcmread(file)
            data.PatientID = f"p{n}"
            pixels = 1064 + np.random.default_rng(50 * n + int(file.stem)).integers(-9, 9, SIZE)
            data.PixelData = pixels.astype("<u2").tobytes()
            data.save_as(file)
    Folder().prepare(root / "raw", root / "store", "strict", 1, no_progress)
    plan = plan_run(method="intensity", train=Store(root / "store"), preset="smoke", overrides={"image_size": 40})
    return execute(plan, root=root / "runs", device="cpu")[1]


def marked_by_seg(file: Path) -> NDArray[np.float64]:
    """Millimetres of each marked voxel, LPS, as the standard says where a pixel of a frame lies."""
    seg = pydicom.dcmread(file)
    shared = seg.SharedFunctionalGroupsSequence[0]
    rows = np.array(shared.PlaneOrientationSequence[0].ImageOrientationPatient[:3], float)
    columns = np.array(shared.PlaneOrientationSequence[0].ImageOrientationPatient[3:], float)
    dy, dx = (float(part) for part in shared.PixelMeasuresSequence[0].PixelSpacing)
    frames = seg.pixel_array.reshape(-1, *seg.pixel_array.shape[-2:])
    places: list[NDArray[np.float64]] = []
    for frame, about in zip(frames, seg.PerFrameFunctionalGroupsSequence, strict=True):
        corner = np.array(about.PlanePositionSequence[0].ImagePositionPatient, float)
        places += [corner + rows * dx * c + columns * dy * r for r, c in np.argwhere(frame)]
    return np.array(places)


def in_order(points: NDArray[np.float64]) -> NDArray[np.float64]:
    rounded = np.round(points, 2) + 0.0
    return rounded[np.lexsort(rounded.T)]


@pytest.mark.parametrize(
    ("direction", "step"),
    [
        ([1, 0, 0, 0, 1, 0], [0, 0, 3]),
        ([1, 0, 0, 0, 1, 0], [0, 0, -3]),
        ([0, 1, 0, 0, 0, -1], [3, 0, 0]),
        ([0.8, 0.6, 0, -0.6, 0.8, 0], [0, 0, 3]),
    ],
    ids=["axial", "from above", "sagittal", "oblique"],
)
def test_a_segmentation_marks_what_the_mask_marks(
    run: Path, tmp_path: Path, direction: list[float], step: list[float]
) -> None:
    source = turn(series(tmp_path / "in" / "one"), direction=direction, step=step)
    command = ["predict", "--run", str(run), "--input", str(tmp_path / "in"), "--out", str(tmp_path / "out"), "--seg"]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    assert "one_lesion.dcm" in {file.name for file in (tmp_path / "out").iterdir()}, result.stderr
    mask = nib.load(tmp_path / "out" / "one_lesion.nii.gz")
    assert isinstance(mask, nib.Nifti1Image)
    places = apply_affine(mask.affine, np.argwhere(np.asarray(mask.dataobj))) * [-1, -1, 1]
    ours = marked_by_seg(tmp_path / "out" / "one_lesion.dcm")
    np.testing.assert_allclose(in_order(ours), in_order(places), atol=0.02)
    assert len(ours) >= 2 * 6 * 7
    seg = pydicom.dcmread(tmp_path / "out" / "one_lesion.dcm")
    first = pydicom.dcmread(next(source.iterdir()))
    assert seg.StudyInstanceUID == first.StudyInstanceUID
    assert seg.FrameOfReferenceUID == first.FrameOfReferenceUID
    assert seg.ReferencedSeriesSequence[0].SeriesInstanceUID == first.SeriesInstanceUID
    named = {item.ReferencedSOPInstanceUID for item in seg.ReferencedSeriesSequence[0].ReferencedInstanceSequence}
    assert named == {pydicom.dcmread(file).SOPInstanceUID for file in source.iterdir()}


@pytest.mark.parametrize("tilt", [0.0, 0.3])
def test_a_mask_goes_back_to_the_slices_that_it_came_from(tmp_path: Path, tilt: float) -> None:
    """With a gantry tilt slices were moved by parts of pixels: a mask comes back to within its edge."""
    direction = [1, 0, 0, 0, float(np.cos(tilt)), float(-np.sin(tilt))]
    folder = turn(series(tmp_path / "one"), direction=direction, step=[0, 0, 3])
    geometry = read_geometry(folder, sorted(folder.iterdir(), reverse=True))
    planes = np.zeros((5, *SIZE), bool)
    planes[3][LESION], planes[1][5:9, 30:35] = True, True
    back = geometry.unstack(geometry.stack(list(planes))[0])
    differ = int((back != planes).sum())
    assert differ == 0 if not tilt else differ <= 0.2 * planes.sum()


def test_what_has_no_segmentation_is_said_and_costs_nothing_else(run: Path, tmp_path: Path) -> None:
    folder = turn(series(tmp_path / "in" / "one"), direction=[1, 0, 0, 0, 1, 0], step=[0, 0, 3])
    for file in folder.iterdir():
        data = pydicom.dcmread(file)
        del data.FrameOfReferenceUID
        data.save_as(file)
    put(tmp_path / "in" / "a.png", np.random.default_rng(0).integers(-99, 255, SIZE).clip(0).astype(np.uint8))
    applied = apply_run(run, tmp_path / "in", tmp_path / "out", "cpu", no_progress, seg=True)
    assert any("no DICOM segmentation (its headers do not allow one" in note for note in applied.notes)
    assert not list((tmp_path / "out").glob("*.dcm"))
    assert (tmp_path / "out" / "one_lesion.nii.gz").is_file()
