"""Raw brain data, tiny, in the exact naming of each public release."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np

SHAPE = (60, 72, 10)
LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
BRATS21 = ("flair", "t1", "t1ce", "t2")
BRATS23 = ("t2f", "t1n", "t1c", "t2w")


def head(seed: int, depth: int = SHAPE[2]) -> tuple[np.ndarray, np.ndarray]:
    """An ellipsoid of 100 +- 10 with a lesion of labels 1 and 2 in the middle slices, in RAS order."""
    rng = np.random.default_rng(seed)
    shape = (*SHAPE[:2], depth)
    x, y, z = np.meshgrid(*[np.linspace(-1, 1, n) for n in shape], indexing="ij")
    body = x**2 + y**2 + (0.3 * z) ** 2 < 0.9
    r2 = (x - 0.4) ** 2 + (y - 0.3) ** 2 + z**2
    label = (r2 < 0.15).astype(np.uint8) + (r2 < 0.05)
    return np.where(body, rng.normal(100, 10, shape) + 60 * (label > 0), 0).astype(np.float32), label


def save(path: Path, data: np.ndarray, affine: np.ndarray | None = None) -> None:
    """Writes RAS data in the given storage order: by default that of BraTS, LPS."""
    path.parent.mkdir(parents=True, exist_ok=True)
    affine = LPS.copy() if affine is None else affine.copy()
    for axis in range(3):
        if affine[axis, axis] < 0:
            affine[axis, 3] = data.shape[axis] - 1
            data = np.flip(data, axis)
    nib.Nifti1Image(np.ascontiguousarray(data), affine).to_filename(path)


def brats21(root: Path, patients: int = 12, depth: int = SHAPE[2]) -> Path:
    for n in range(patients):
        image, label = head(n, depth)
        name = f"BraTS2021_{n:05d}"
        for modality in BRATS21:
            save(root / name / f"{name}_{modality}.nii.gz", image)
        save(root / name / f"{name}_seg.nii.gz", np.where(label == 2, 4, label).astype(np.uint8))
    return root


def brats23(root: Path, patients: int = 12) -> Path:
    for n in range(patients):
        name = f"BraTS-GLI-{n // 2:05d}-{n % 2:03d}"
        image, label = head(100 + n)
        for modality in BRATS23:
            save(root / name / f"{name}-{modality}.nii.gz", image)
        save(root / name / f"{name}-seg.nii.gz", label)
    return root


def ixi(root: Path, people: int = 20) -> Path:
    for n in range(people):
        image, label = head(200 + n)
        stem = f"IXI{n:03d}-{('Guys', 'HH', 'IOP')[n % 3]}-{700 + n:04d}-T2"
        # IXI is not brain-extracted: skin and noise all round, a mask beside it.
        save(root / f"{stem}.nii.gz", np.where(image == 0, 20, image - 60 * (label > 0)).astype(np.float32))
        save(root / f"{stem}_bet_mask.nii.gz", (image > 0).astype(np.uint8))
    return root


def atlas(root: Path, patients: int = 2) -> Path:
    for n in range(patients):
        image, label = head(300 + n)
        folder = root / f"R{n:03d}" / f"sub-r{n:03d}s001" / "ses-1" / "anat"
        stem = f"sub-r{n:03d}s001_ses-1_space-MNI152NLin2009aSym"
        save(folder / f"{stem}_T1w.nii.gz", image + 5)
        save(folder / f"{stem}_T1w_mask.nii.gz", (image > 0).astype(np.uint8))
        save(folder / f"{stem}_label-L_desc-T1lesion_mask.nii.gz", (label > 0).astype(np.uint8))
    return root


def pddpm(root: Path) -> Path:
    roles = {"IXI_train_fold0": [], "IXI_val_fold0": [], "IXI_test": [], "Brats21_val": [], "Brats21_test": []}
    for n, split in enumerate(("IXI_train_fold0", "IXI_train_fold0", "IXI_val_fold0", "IXI_test")):
        image, label = head(400 + n)
        save(root / "Train/ixi/t2" / f"IXI{n:03d}-Guys-{n:04d}-T2.nii.gz", image - 60 * (label > 0))
        save(root / "Train/ixi/mask" / f"IXI{n:03d}-Guys-{n:04d}-T2_mask.nii.gz", (image > 0).astype(np.uint8))
        roles[split].append(f"/Train/ixi/t2/IXI{n:03d}-Guys-{n:04d}-T2.nii.gz")
    for n, split in enumerate(("Brats21_val", "Brats21_test", "Brats21_test")):
        image, label = head(500 + n)
        for what, data in (("t2", image), ("mask", (image > 0).astype(np.uint8)), ("seg", label)):
            save(root / "Test/Brats21" / what / f"BraTS2021_{n:05d}_{what}.nii.gz", data)
        roles[split].append(f"/Test/Brats21/t2/BraTS2021_{n:05d}_t2.nii.gz")
    (root / "splits").mkdir()
    for split, paths in roles.items():
        (root / "splits" / f"{split}.csv").write_text("\n".join([",img_path", *(f"0,{path}" for path in paths)]))
    return root
