"""Each rule of the recipes ``paper`` against a few-line statement of it that shares no code with the product."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tests.support.brain_data import brats21
from tests.support.liver_data import lits, save
from tests.support.sweep_data import name_patients, sweeps
from uadbench.core.dataset import no_progress
from uadbench.core.roles import Role
from uadbench.core.seeding import numpy_generator
from uadbench.data.preprocessing.published_grid import published_image
from uadbench.data.storage.store import Store
from uadbench.datasets.brain_mri import BrainMri
from uadbench.datasets.carotid_us import CarotidUS
from uadbench.datasets.carotid_us.crop import Rectangle
from uadbench.datasets.liver_ct import LiverCT
from uadbench.datasets.liver_ct.cases import paper_takes
from uadbench.datasets.liver_ct.layouts import committed_split


def resized_then_scaled(plane: NDArray[np.generic]) -> NDArray[np.float64]:
    """Pillow's resizing of floats, which averages when it shrinks, then the least to -1 and the greatest to 1."""
    small = np.asarray(Image.fromarray(plane.astype(np.float32)).resize((128, 128), Image.Resampling.BILINEAR), float)
    return 2 * (small - small.min()) / (small.max() - small.min()) - 1


def voxels(path: Path) -> NDArray[np.float64]:
    return np.asarray(nib.Nifti1Image.from_filename(path).get_fdata(), np.float64)


def test_brain_is_resized_before_it_is_scaled(tmp_path: Path) -> None:
    raw = brats21(tmp_path / "raw", 6, depth=155)
    BrainMri("flair").prepare(raw, tmp_path / "out", "paper", 1, no_progress)
    store = Store(tmp_path / "out")
    volumes = {path.name[:15]: voxels(path) for path in raw.rglob("*_flair.nii.gz")}
    for item in store.items[::7]:
        assert item.shape == (1, 128, 128)
        plane = volumes[item.case][..., item.index].T  # BraTS is stored from right to left and from front to back
        assert np.abs(store.image(item)[0] - resized_then_scaled(plane)).max() < 2e-3
        assert set(np.unique(store.mask(item))) <= {0, 1}
    assert {item.lesion for item in store.role(Role.TEST)} == {True}


def test_scaling_first_would_lower_the_contrast() -> None:
    rng = np.random.default_rng(0)
    plane = rng.random((240, 240)).astype(np.float32)
    plane[100, 100] = 5
    ours = published_image(plane)
    scaled_first = np.asarray(
        Image.fromarray(2 * (plane - plane.min()) / (plane.max() - plane.min()) - 1).resize((128, 128), 2), float
    )
    assert ours.std() > 1.5 * scaled_first.std()
    assert np.abs(ours - resized_then_scaled(plane)).max() < 2e-4


def test_carotid_crops_the_rectangle_stretches_it_and_scales_each_frame(tmp_path: Path) -> None:
    raw = name_patients(sweeps(tmp_path / "raw"))
    CarotidUS().prepare(raw, tmp_path / "out", "paper", 1, no_progress)
    store = Store(tmp_path / "out")
    for item in store.items[::5]:
        sweep, _, name = item.uid.partition("-")
        image = np.asarray(Image.open(raw / sweep / "img" / f"{name}.png"), float)
        vessel = np.asarray(Image.open(raw / sweep / "vessel" / f"{name}.png")) > 0
        ys, xs = np.nonzero(vessel)
        w, h = xs.max() - xs.min() + 1, ys.max() - ys.min() + 1
        cx, cy = xs.min() + w // 2, ys.min() + h // 2
        rng = numpy_generator("sweep-crop", item.uid)
        f, u, v = rng.uniform(1.1, 1.5), rng.uniform(0.46, 0.54), rng.uniform(0.46, 0.54)
        crop = image[
            max(0, cy - int(h * f * v)) : min(image.shape[0], cy + int(h * f * (1 - v))),
            max(0, cx - int(w * f * u)) : min(image.shape[1], cx + int(w * f * (1 - u))),
        ]
        assert item.shape == (1, 128, 128)
        assert np.abs(store.image(item)[0] - resized_then_scaled(crop)).max() < 2e-3
        assert (store.image(item).min(), store.image(item).max()) == (-1, 1)
        assert store.body(item).all()


def test_carotid_rectangle_is_clamped_at_the_edge_and_keeps_its_sides_apart() -> None:
    vessel = np.zeros((60, 100), bool)
    vessel[0:20, 70:100] = True
    found = Rectangle.around_vessel(vessel, (1.5, 1.5), np.random.default_rng(0), "x")
    assert (found.top, found.right) == (0, 100)
    assert found.cut(vessel).shape[0] < found.cut(vessel).shape[1]


@pytest.mark.parametrize("area", [9_999, 10_000, 10_001])
@pytest.mark.parametrize("tumour", [0, 1_500, 1_501])
def test_liver_counts_pixels_as_the_paper_does(area: int, tumour: int) -> None:
    healthy = tumour == 0 and area > 10_000
    anomalous = tumour > 1_500 and area >= 10_000
    assert paper_takes(area, tumour, 512 * 512) == (healthy or anomalous)


def _selected(raw: Path) -> dict[str, tuple[set[int], set[int]]]:
    """Returns the healthy and the anomalous slices of each volume by the rule in words, on any slice size."""
    found: dict[str, tuple[set[int], set[int]]] = {}
    for path in raw.rglob("segmentation-*.nii"):
        labels = voxels(path)
        share = labels.shape[0] * labels.shape[1] / 512**2
        liver, tumour = (labels == 1).sum((0, 1)), (labels == 2).sum((0, 1))
        healthy = (liver > 10_000 * share) & (tumour == 0)
        sick = (liver + tumour >= 10_000 * share) & (tumour > 1_500 * share)
        number = int(path.stem.split("-")[1])
        found[f"lits-{number:03d}"] = set(np.flatnonzero(healthy).tolist()), set(np.flatnonzero(sick).tolist())
    return found


def test_liver_tests_on_anomalous_slices_alone_and_draws_so_many(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers = sorted(committed_split())[:24]
    raw = lits(tmp_path / "raw", numbers)
    # A volume with a tumour that is small: its slices are in no role of lesions.
    small = raw / "segmentations" / f"segmentation-{numbers[0]}.nii"
    labels = voxels(small).astype(np.uint8)
    keep = np.zeros_like(labels)
    keep[tuple(np.argwhere(labels == 2)[0])] = 1
    save(small, np.where((labels == 2) & (keep == 0), 1, labels).astype(np.uint8))
    LiverCT().prepare(raw, tmp_path / "all", "paper", 1, no_progress)
    store, expected = Store(tmp_path / "all"), _selected(raw)
    found: dict[str, set[int]] = {name: set() for name in expected}
    for item in store.items:
        found[item.case].add(item.index)
    roles = {f"lits-{number:03d}": role for number, role in committed_split().items()}
    for name, (healthy, sick) in expected.items():
        assert found[name] == (healthy if roles[name] in (Role.TRAIN, Role.CALIB) else sick), name
    assert not store.manifest.ranked
    whole = {(item.case, item.index) for item in store.role(Role.TEST)}
    assert len(whole) > 4
    monkeypatch.setattr("uadbench.datasets.liver_ct.prepare.PAPER_ANOMALOUS", 4)
    for out in ("one", "two"):
        LiverCT().prepare(raw, tmp_path / out, "paper", 1, no_progress)
    drawn = [{(item.case, item.index) for item in Store(tmp_path / out).role(Role.TEST)} for out in ("one", "two")]
    assert drawn[0] == drawn[1] < whole
    assert len(drawn[0]) == 4
