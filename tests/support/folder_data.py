"""Anybody's raw data, tiny: two folders, a table, a DICOM series."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from PIL import Image
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from uadbench.core.dataset import no_progress
from uadbench.data.storage.store import Store
from uadbench.datasets.folder import Folder
from uadbench.datasets.folder.table import COLUMNS

SIZE = (40, 36)


def picture(seed: int, lesion: bool = False) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    mask = np.zeros(SIZE, bool)
    mask[10:16, 8:14] = lesion
    return (90 + rng.integers(0, 60, SIZE) + 90 * mask).astype(np.uint8), mask


def put(path: Path, pixels: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.astype(np.uint8) if pixels.dtype == bool else pixels).save(path)
    return path


def prepare(source: Path, out: Path, workers: int = 1) -> Store:
    Folder().prepare(source, out, "strict", workers, no_progress)
    return Store(out)


def two_folders(raw: Path, count: int = 8) -> Path:
    for n in range(count):
        put(raw / "normal" / f"n{n}.png", picture(n)[0])
        image, mask = picture(100 + n, lesion=True)
        put(raw / "abnormal" / f"a{n}.png", image)
        put(raw / "masks" / f"a{n}.png", 255 * mask.astype(np.uint8))
    return raw


def table(raw: Path, rows: list[dict[str, Any]]) -> Path:
    raw.mkdir(parents=True, exist_ok=True)
    with (raw / "metadata.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, [name for name in COLUMNS if any(name in row for row in rows)])
        writer.writeheader()
        writer.writerows(rows)
    return raw


def listed(raw: Path, splits: tuple[str, ...] = ("train", "train", "train", "val", "test", "test")) -> Path:
    """Two numbered slices a patient; patients of val and the last of test are abnormal."""
    rows: list[dict[str, Any]] = []
    for p, split in enumerate(splits):
        sick = split == "val" or p == len(splits) - 1
        for z in range(2):
            image, mask = picture(10 * p + z, lesion=sick)
            put(raw / "images" / f"{p}-{z}.png", image)
            row = {"image": f"images/{p}-{z}.png", "mask": "", "roi": "roi.png", "patient": f"Jane Doe {p}"}
            if sick:
                put(raw / "masks" / f"{p}-{z}.png", 255 * mask.astype(np.uint8))
                row["mask"] = f"masks/{p}-{z}.png"
            rows.append({**row, "slice": z, "split": split, "label": "abnormal" if sick else "normal"})
    roi = np.zeros(SIZE, np.uint8)
    roi[4:36, 4:32] = 255
    put(raw / "roi.png", roi)
    return table(raw, rows)


def series(folder: Path, slices: int = 5, uid: str | None = None, modality: str = "CT", first: int = 0) -> Path:
    """Writes a DICOM series with names in it; HU 40 with a dense block at the patient's left back, top slice."""
    folder.mkdir(parents=True, exist_ok=True)
    uid = uid or generate_uid()
    for z in range(slices):
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = CTImageStorage, generate_uid()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        data = FileDataset(str(folder / f"{first + z}.dcm"), {}, file_meta=meta, preamble=b"\0" * 128)
        data.SOPClassUID, data.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
        data.PatientName, data.PatientID, data.PatientBirthDate = "Doe^Jane", "MRN-4711", "19700101"
        data.SeriesInstanceUID, data.Modality = uid, modality
        data.StudyInstanceUID, data.FrameOfReferenceUID = (
            generate_uid(entropy_srcs=[uid, "study"]),
            generate_uid(entropy_srcs=[uid, "frame"]),
        )
        data.Rows, data.Columns = SIZE
        data.PixelSpacing, data.SliceThickness = [1.5, 2.0], 3
        data.ImagePositionPatient, data.ImageOrientationPatient = [0, 0, 3.0 * z], [1, 0, 0, 0, 1, 0]
        data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
        data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 16, 15, 0
        data.RescaleSlope, data.RescaleIntercept = 1, -1024
        pixels = 1064 + np.random.default_rng(z).integers(-9, 9, SIZE)
        if z == slices - 1:
            pixels[30:36, 28:34] = 1224
        data.PixelData = pixels.astype("<u2").tobytes()
        data.save_as(folder / f"{first + z}.dcm", enforce_file_format=True)
    return folder


def volumes(raw: Path, change: Callable[[np.ndarray], np.ndarray], spacing: tuple[float, ...] = (2, 2, 4)) -> Path:
    """Six volumes with a block of tissue on 0, four normal and two with a brighter lesion and its mask."""
    for n in range(6):
        data = np.zeros((20, 24, 6), np.float32)
        data[5:15, 6:18] = np.random.default_rng(n).normal(400, 20, (10, 12, 6))
        mask = np.zeros(data.shape, np.uint8)
        if n > 3:
            mask[7:10, 8:11, 2] = 1
        parts = [("abnormal" if n > 3 else "normal", change(data + 150 * mask))]
        for folder, array in [*parts, *([("masks", mask)] if n > 3 else [])]:
            (raw / folder).mkdir(parents=True, exist_ok=True)
            nib.Nifti1Image(array, np.diag([*spacing, 1.0])).to_filename(raw / folder / f"v{n}.nii.gz")
    return raw
