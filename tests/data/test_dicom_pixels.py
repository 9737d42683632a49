"""Pixels of DICOM files: compressed or not, they are the same values; what each frame says of its scale is heard."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk  # noqa: N813 (as its documentation has it)
from PIL import Image
from pydicom.dataset import FileDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    UID,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from tests.support.dicom_data import PIXELS, enhanced, frame
from uadbench.core.errors import DataError
from uadbench.data.reading.dicom import read_series
from uadbench.data.reading.dicom_pixels import decode


def compressed(path: Path, data: FileDataset, syntax: UID) -> None:
    pixels = data.pixel_array
    if syntax in (RLELossless, JPEGLSLossless):
        if syntax == JPEGLSLossless:
            pytest.importorskip("jpeg_ls")
        data.compress(syntax, generate_instance_uid=False)
        data.save_as(path)
        return
    if syntax == JPEG2000Lossless:
        coded = io.BytesIO()
        Image.fromarray(pixels).save(coded, "JPEG2000", irreversible=False, no_jp2=True)
        stream = encapsulate([coded.getvalue()])
    else:
        writer = sitk.ImageFileWriter()
        writer.SetFileName(str(path))
        writer.SetImageIO("GDCMImageIO")
        writer.SetUseCompression(True)
        writer.SetCompressor("JPEG")
        writer.Execute(sitk.GetImageFromArray(pixels))
        made = pydicom.dcmread(path)
        assert made.file_meta.TransferSyntaxUID == syntax
        stream = made.PixelData
    data.PixelData = stream
    data["PixelData"].is_undefined_length = True
    data["PixelData"].VR = "OB"
    data.file_meta.TransferSyntaxUID = syntax
    data.save_as(path)


@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless, JPEG2000Lossless, JPEGLosslessSV1])
@pytest.mark.parametrize("white", [1, 2])
@pytest.mark.parametrize("bits", [8, 16])
def test_a_compressed_frame_is_the_uncompressed_one(tmp_path: Path, syntax: UID, white: int, bits: int) -> None:
    kind = np.uint8 if bits == 8 else np.uint16
    pixels = np.random.default_rng(0).integers(0, 250 if bits == 8 else 4000, PIXELS).astype(kind)
    frame(tmp_path / "a", pixels, white=white).save_as(tmp_path / "plain.dcm", enforce_file_format=True)
    wanted = decode(tmp_path / "plain.dcm").frames
    np.testing.assert_array_equal(wanted[0], pixels if white == 2 else 2**bits - 1 - pixels.astype(np.float32))
    compressed(tmp_path / "small.dcm", frame(tmp_path / "b", pixels, white=white), syntax)
    np.testing.assert_array_equal(decode(tmp_path / "small.dcm").frames, wanted)


def test_compressed_ct_keeps_its_hounsfield_units(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 3000, PIXELS).astype(np.uint16)
    data = frame(tmp_path / "a", pixels, modality="CT")
    data.RescaleSlope, data.RescaleIntercept = "0.5", "-1024"
    compressed(tmp_path / "small.dcm", data, JPEGLosslessSV1)
    np.testing.assert_array_equal(decode(tmp_path / "small.dcm").frames[0], pixels * np.float32(0.5) - 1024)


def test_the_frames_of_an_enhanced_file_have_scales_of_their_own(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(900, 1100, (3, *PIXELS)).astype(np.uint16)
    shared = enhanced(tmp_path / "shared.dcm", pixels, [(1, -1024)])
    np.testing.assert_array_equal(decode(shared).frames, pixels.astype(np.float32) - 1024)
    own = enhanced(tmp_path / "own.dcm", pixels, [(1, -1024), (2, -1024), (1, 0)])
    wanted = pixels * np.array([1, 2, 1], np.float32)[:, None, None] - np.array([1024, 1024, 0])[:, None, None]
    np.testing.assert_array_equal(decode(own).frames, wanted)
    volume, modality = read_series(tmp_path, [own])
    assert (volume.data.shape, modality, volume.spacing) == ((20, 24, 3), "CT", (2, 2, 5))


def test_an_enhanced_file_without_scale_or_places_is_refused_by_name(tmp_path: Path) -> None:
    pixels = np.full((3, *PIXELS), 1000, np.uint16)
    lacking = enhanced(tmp_path / "lacking.dcm", pixels, [(1, 0), (None, 0), (1, 0)])
    with pytest.raises(DataError, match=r"lacking\.dcm is CT without Hounsfield units: RescaleSlope"):
        decode(lacking)
    nowhere = frame(tmp_path / "a", pixels, modality="CT")
    nowhere.NumberOfFrames = 3
    nowhere.save_as(tmp_path / "nowhere.dcm", enforce_file_format=True)
    with pytest.raises(DataError, match=r"nowhere\.dcm is a multi-frame file .* NIfTI"):
        read_series(tmp_path, [tmp_path / "nowhere.dcm"])


def test_pixels_that_are_cut_name_the_syntax_and_the_plug_in(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    pixels = np.random.default_rng(0).integers(0, 250, PIXELS).astype(np.uint8)
    data = frame(tmp_path / "a", pixels)
    data.file_meta.TransferSyntaxUID = JPEGLosslessSV1
    data.PixelData = encapsulate([b"\xff\xd8\xff\xc3\x00\x0b"])
    data["PixelData"].is_undefined_length = True
    data["PixelData"].VR = "OB"
    data.save_as(tmp_path / "cut.dcm")
    with pytest.raises(DataError, match=r"cut\.dcm is compressed as JPEG Lossless.*") as caught:
        decode(tmp_path / "cut.dcm")
    assert "pylibjpeg-libjpeg" in str(caught.value)
