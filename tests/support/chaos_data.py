"""Raw data of CHAOS, tiny: DICOM slices whose names count from the top down."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
from PIL import Image
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from tests.support.liver_data import abdomen

PATIENTS = (1, 2, 5, 6, 8, 10, 14)


def write_slice(path: Path, hu: np.ndarray, z: float, number: int) -> None:
    """Writes a slice as CHAOS has them: a series identifier of its own, 16 bits with an offset."""
    path.parent.mkdir(parents=True, exist_ok=True)
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = CTImageStorage, generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    data.SOPClassUID, data.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
    data.SeriesInstanceUID, data.StudyInstanceUID, data.Modality = generate_uid(), generate_uid(), "CT"
    data.PatientName, data.PatientID = "Donor^Kind", "MRN-0815"
    data.InstanceNumber, data.SliceThickness = number, 3.2
    data.Rows, data.Columns = hu.shape
    data.PixelSpacing = [3.0, 3.0]
    data.ImagePositionPatient, data.ImageOrientationPatient = [-90, -80, z], [1, 0, 0, 0, 1, 0]
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 16, 15, 1
    data.RescaleSlope, data.RescaleIntercept = 1, -1200
    data.PixelData = (hu + 1200).astype("<i2").tobytes()
    data.save_as(path, enforce_file_format=True)


def patient(folder: Path, number: int, style: str = "i{:04d},0000b") -> tuple[np.ndarray, np.ndarray]:
    """Writes one patient; returns HU and liver in RAS order, with more liver at the bottom than at the top."""
    hu, liver = abdomen(200 + number, tumour=False)
    z = np.arange(hu.shape[2])
    liver = liver * (np.arange(liver.shape[1])[None, :, None] < 50 - 3 * z)
    for k in z:
        name = len(z) - 1 - int(k)  # names count from the head down
        rows = hu[::-1, ::-1, k].T  # front to back, the patient's right to left
        write_slice(folder / "DICOM_anon" / f"{style.format(name)}.dcm", rows, 3.2 * float(k), name + 1)
        mask = Image.fromarray((255 * liver[::-1, ::-1, k].T).astype(np.uint8))
        (folder / "Ground").mkdir(exist_ok=True)
        mask.convert("1").save(folder / "Ground" / f"liver_GT_{name:03d}.png")
    return hu, liver


def chaos(root: Path, numbers: tuple[int, ...] = PATIENTS) -> Path:
    for number in numbers:
        style = "i{:04d},0000b" if number < 10 else "IMG-0004-{:05d}"
        patient(root / "Train_Sets" / "CT" / str(number), number, style)
    patient(root / "Test_Sets" / "CT" / "3", 3)
    shutil.rmtree(root / "Test_Sets" / "CT" / "3" / "Ground")
    shutil.copytree(
        root / "Train_Sets" / "CT" / str(numbers[0]) / "DICOM_anon", root / "Train_Sets/MR/1/T2SPIR/DICOM_anon"
    )
    return root
