"""Raw liver data, tiny, in the exact naming of each release."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
from PIL import Image

from uadbench.core.dataset import Recipe, no_progress
from uadbench.core.roles import Role
from uadbench.data.storage.store import Store
from uadbench.datasets.liver_ct import LiverCT
from uadbench.datasets.liver_ct.layouts import committed_split
from uadbench.testing.dataset_checks import check_dataset

SHAPE = (64, 56, 6)
SPACING = np.diag([3.0, 3.0, 5.0, 1.0])


def abdomen(seed: int, tumour: bool, liver: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """HU and labels in RAS order: a liver on the patient's right, which is low x after turning to the picture."""
    rng = np.random.default_rng(seed)
    x, y, z = np.meshgrid(*[np.linspace(-1, 1, n) for n in SHAPE], indexing="ij")
    body = x**2 + y**2 < 0.9
    organ = (x - 0.3) ** 2 + y**2 < 0.25
    lesion = ((x - 0.4) ** 2 + (y - 0.2) ** 2 + 0.3 * z**2 < 0.02) & tumour
    hu = np.where(body, 50 + 55 * organ - 45 * lesion + rng.normal(0, 8, SHAPE), -1000)
    return hu.astype(np.int16), (liver * organ + lesion * (2 - liver)).astype(np.uint8)


def save(path: Path, data: np.ndarray, affine: np.ndarray = SPACING) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.Nifti1Image(data, affine).to_filename(path)


def lits(folder: Path, numbers: list[int] | None = None) -> Path:
    roles = committed_split()
    each = [min(n for n, role in roles.items() if role == wanted) for wanted in Role]
    for number in numbers or each:
        hu, labels = abdomen(number, tumour=True)
        save(folder / "volumes" / f"volume-{number}.nii", hu)
        save(folder / "segmentations" / f"segmentation-{number}.nii", labels)
    return folder


def msd(folder: Path) -> Path:
    for number, role in committed_split().items():
        if number < 8 or (role == Role.CALIB and number < 30):
            hu, labels = abdomen(number, tumour=True)
            save(folder / "imagesTr" / f"liver_{number}.nii.gz", hu)
            save(folder / "labelsTr" / f"liver_{number}.nii.gz", labels)
    save(folder / "imagesTs" / "liver_131.nii.gz", abdomen(0, tumour=False)[0])
    (folder / "dataset.json").write_text("{}")
    return folder


def btcv(folder: Path) -> Path:
    for number in range(1, 8):
        hu, labels = abdomen(100 + number, tumour=False, liver=6)
        save(folder / "img" / f"img{number:04d}.nii.gz", hu)
        save(folder / "label" / f"label{number:04d}.nii.gz", labels)
    return folder


def bmad(folder: Path) -> Path:
    rng = np.random.default_rng(0)
    yy, xx = np.mgrid[:40, :40]
    organ, lesion = (xx - 20) ** 2 + (yy - 20) ** 2 < 200, (xx - 24) ** 2 + (yy - 20) ** 2 < 9

    def put(path: Path, pixels: np.ndarray) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.astype(np.uint8)).save(path)

    for n in range(12):
        put(folder / "train" / "good" / f"{n}.png", organ * (120 + rng.integers(0, 40, organ.shape)))
    for part in ("valid", "test"):
        for kind in ("good", "Ungood"):
            sick = kind == "Ungood"
            noise = rng.integers(0, 40, organ.shape)
            put(folder / part / kind / "img" / "3.png", organ * (120 + noise - 60 * (lesion & sick)))
            put(folder / part / kind / "label" / "3.png", 255 * (lesion & sick))
    return folder


def prepare(source: Path, out: Path, recipe: Recipe = "strict", workers: int = 1) -> tuple[str, Store]:
    found = LiverCT().prepare(source, out, recipe, workers, no_progress)
    return found, Store(out)


def failed(path: Path) -> list[str]:
    return [f"{result.name}: {result.detail}" for result in check_dataset(path) if not result.passed]
