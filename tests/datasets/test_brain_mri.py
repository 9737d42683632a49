"""Brain MRI: the public layouts through the real loader, and the phantom."""

from __future__ import annotations

import gzip
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from uadbench.core.errors import DataError
from uadbench.core.roles import Role
from uadbench.data.storage.store import Store
from uadbench.datasets.brain_mri import BrainMri

SHAPE = (60, 72, 10)
LAS = np.diag([-1.0, 1.0, 1.0, 1.0])
RAS = np.eye(4)


def quiet(done: int, total: int, what: str) -> None:
    pass


def head(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """An ellipsoid of 100 +- 10 with a small bright lesion in its right front, in RAS order."""
    rng = np.random.default_rng(seed)
    x, y, z = np.meshgrid(*[np.linspace(-1, 1, n) for n in SHAPE], indexing="ij")
    body = x**2 + y**2 + (0.3 * z) ** 2 < 0.9
    lesion = (x - 0.4) ** 2 + (y - 0.3) ** 2 + z**2 < 0.05
    image = np.where(body, rng.normal(100, 10, SHAPE) + 60 * lesion, 0).astype(np.float32)
    return image, (lesion & body).astype(np.uint8)


def save(path: Path, data: np.ndarray, affine: np.ndarray = RAS) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.Nifti1Image(data, affine).to_filename(path)


def mslub(folder: Path, patients: int = 2) -> Path:
    for n in range(1, patients + 1):
        image, lesion = head(n)
        save(folder / f"patient{n:02d}_FLAIR_MNI.nii.gz", image)
        save(folder / f"patient{n:02d}_lesions_MNI.nii.gz", lesion)
    return folder


def prepare(source: Path, out: Path, workers: int = 1) -> Store:
    BrainMri().prepare(source, out, "strict", workers, quiet)
    return Store(out)


def test_mslub_layout(tmp_path: Path) -> None:
    store = prepare(mslub(tmp_path / "raw"), tmp_path / "out")
    store.verify()
    assert {item.patient for item in store.items} == {"mslub-01", "mslub-02"}
    assert {item.role for item in store.items} == {Role.TEST}
    assert (store.manifest.source, store.manifest.ranked) == ("real", False)
    assert any("0.90" in note for note in store.manifest.notes)
    lesion = next(item for item in store.items if item.lesion)
    assert lesion.shape == (1, 72, 60)
    assert lesion.spacing == (1.0, 1.0)
    rows, columns = np.nonzero(store.mask(lesion) == 1)
    # The lesion is on the patient's right and in front: left and top of the picture.
    assert rows.mean() < 36
    assert columns.mean() < 30
    image = store.image(lesion)[0]
    assert image[store.mask(lesion) == 1].mean() > image[store.body(lesion)].mean() + 0.3
    assert (image[~store.body(lesion)] == -1).all()


def test_mslub_is_the_same_from_either_orientation_and_with_workers(tmp_path: Path) -> None:
    straight = prepare(mslub(tmp_path / "ras"), tmp_path / "a")
    for path in (tmp_path / "ras").iterdir():
        data = np.asarray(nib.Nifti1Image.from_filename(path).dataobj)
        flipped = LAS.copy()
        flipped[0, 3] = SHAPE[0] - 1  # the same voxels in the same place, stored from right to left
        save(tmp_path / "las" / path.name, data[::-1], flipped)
    turned = prepare(tmp_path / "las", tmp_path / "b", workers=2)
    assert turned.manifest.fingerprint == straight.manifest.fingerprint


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("truncated", "truncated or damaged"),
        ("no partner", "no partner"),
        ("other grid", "another grid"),
        ("shifted", "another grid"),
        ("nan", "NaN"),
        ("zero spacing", "spacing of 0"),
        ("no affine", "orientation"),
        ("soft mask", "not labels"),
        ("three labels", "instead of 0 and 1"),
        ("outside", "outside the brain"),
        ("no background", "no empty background"),
        ("black", "no empty background|no signal|no slice"),
        ("huge", "impossible shape"),
        ("not nifti", "not a readable NIfTI"),
        ("link", "leaves the folder"),
        ("empty", "contains no layout"),
    ],
)
def test_bad_files_are_named_and_nothing_is_left(tmp_path: Path, damage: str, message: str) -> None:
    raw = mslub(tmp_path / "raw")
    image, lesion = head(2)
    image_file, mask_file = raw / "patient02_FLAIR_MNI.nii.gz", raw / "patient02_lesions_MNI.nii.gz"
    named = image_file
    if damage == "truncated":
        image_file.write_bytes(image_file.read_bytes()[:20000])
    elif damage == "no partner":
        mask_file.unlink()
    elif damage == "other grid":
        save(named := mask_file, lesion[:-1])
    elif damage == "shifted":
        affine = RAS.copy()
        affine[0, 3] = 5
        save(named := mask_file, lesion, affine)
    elif damage == "nan":
        image[30, 30, 5] = np.nan
        save(image_file, image)
    elif damage in ("zero spacing", "no affine", "huge"):
        patch_header(image_file, damage)
    elif damage == "soft mask":
        save(named := mask_file, lesion * np.float32(0.7))
    elif damage == "three labels":
        lesion[0, 0, 0] = 2
        save(named := mask_file, lesion)
    elif damage == "outside":
        save(named := mask_file, (image == 0).astype(np.uint8))
    elif damage == "no background":
        save(image_file, image + 1)
    elif damage == "black":
        save(image_file, image * 0)
        save(mask_file, lesion * 0)
    elif damage == "not nifti":
        image_file.write_bytes(gzip.compress(b"hello" * 100))
    elif damage == "link":
        outside = tmp_path / "elsewhere.nii.gz"
        image_file.rename(outside)
        image_file.symlink_to(outside)
    elif damage == "empty":
        raw = named = tmp_path / "nothing"
        raw.mkdir()
    with pytest.raises(DataError, match=message) as caught:
        prepare(raw, tmp_path / "out")
    assert named.name in str(caught.value)
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith((".", "out"))) == []


def patch_header(path: Path, damage: str) -> None:
    """Writes what nibabel would refuse to write."""
    raw = bytearray(gzip.decompress(path.read_bytes()))
    if damage == "zero spacing":
        raw[80:84] = bytes(4)  # pixdim[1]
    elif damage == "no affine":
        raw[252:256] = bytes(4)  # qform_code and sform_code
    else:
        raw[42:48] = np.array([30000, 30000, 30000], "<i2").tobytes()  # dim[1:4]
    path.write_bytes(gzip.compress(bytes(raw)))


def test_what_was_prepared_before_stays(tmp_path: Path) -> None:
    store = prepare(mslub(tmp_path / "raw"), tmp_path / "out")
    with pytest.raises(DataError, match="not empty"):
        prepare(tmp_path / "raw", tmp_path / "out")
    assert Store(tmp_path / "out").manifest == store.manifest
