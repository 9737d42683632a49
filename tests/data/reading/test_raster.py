"""Pictures of 16 bits keep their values or are refused; a damaged file gives one error and no warning."""

from __future__ import annotations

import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from uadbench.core.errors import DataError
from uadbench.data.reading.raster import decode, read_grey, read_picture

LEVELS = (np.arange(24 * 20, dtype=np.uint16).reshape(24, 20) * 131).astype(np.uint16)
BYTES = (LEVELS >> 8).astype(np.uint8)


def tiff(path: Path, pixels: NDArray[np.generic], photometric: int) -> Path:
    """An uncompressed TIFF of one strip, (h, w) or (h, w, c); photometric 0 says that 0 is white."""
    high, wide = pixels.shape[:2]
    channels = pixels.shape[2] if pixels.ndim == 3 else 1
    kind, bits = (3 if pixels.dtype.kind == "f" else 1), 8 * pixels.dtype.itemsize
    after = 8 + 2 + 12 * 10 + 4  # header, count, entries, no next page; then values that do not fit into an entry
    extra = struct.pack("<" + "H" * 2 * channels, *[bits] * channels, *[kind] * channels) if channels > 1 else b""
    entries = [
        (256, 4, 1, wide),
        (257, 4, 1, high),
        (258, 3, channels, bits if channels == 1 else after),
        (259, 3, 1, 1),
        (262, 3, 1, photometric),
        (273, 4, 1, after + len(extra)),
        (277, 3, 1, channels),
        (278, 4, 1, high),
        (279, 4, 1, pixels.nbytes),
        (339, 3, channels, kind if channels == 1 else after + 2 * channels),
    ]
    table = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    head = b"II*\0" + struct.pack("<IH", 8, len(entries)) + table + struct.pack("<I", 0)
    path.write_bytes(head + extra + pixels.tobytes())
    return path


def png(path: Path, pixels: NDArray[np.uint16], colour: int, *more: tuple[bytes, bytes]) -> Path:
    """A PNG of 16 bits, (h, w) or (h, w, c)."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    lines = b"".join(b"\0" + line.astype(">u2").tobytes() for line in pixels)
    head = struct.pack(">IIBBBBB", pixels.shape[1], pixels.shape[0], 16, colour, 0, 0, 0)
    chunks = [(b"IHDR", head), *more, (b"IDAT", zlib.compress(lines)), (b"IEND", b"")]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*each) for each in chunks))
    return path


def test_16_bits_of_which_0_is_white_are_turned(tmp_path: Path) -> None:
    white, black = tiff(tmp_path / "white.tif", LEVELS, 0), tiff(tmp_path / "black.tif", LEVELS, 1)
    np.testing.assert_array_equal(decode(black)[0], LEVELS)
    np.testing.assert_array_equal(decode(white)[0], 65535 - LEVELS)
    np.testing.assert_allclose(read_grey(white) + read_grey(black), 1, atol=1e-6)
    np.testing.assert_array_equal(decode(tiff(tmp_path / "8.tif", BYTES, 0))[0], 255 - BYTES)


def test_floats_of_which_0_is_white_are_refused(tmp_path: Path) -> None:
    values = LEVELS.astype(np.float32) / 65535
    np.testing.assert_array_equal(decode(tiff(tmp_path / "black.tif", values, 1))[0], values)
    with pytest.raises(DataError, match=r"white\.tif holds floats of which 0 is white"):
        decode(tiff(tmp_path / "white.tif", values, 0))


def test_one_transparent_level_does_not_cut_16_bits_to_8(tmp_path: Path) -> None:
    frame = read_picture(png(tmp_path / "a.png", LEVELS, 0, (b"tRNS", struct.pack(">H", int(LEVELS[3, 3])))))
    assert frame.bits == 16
    np.testing.assert_array_equal(frame.pixels[0], LEVELS)


@pytest.mark.parametrize(("colour", "channels"), [(2, 3), (4, 2), (6, 4)])
def test_several_channels_of_16_bits_in_a_png_are_refused(tmp_path: Path, colour: int, channels: int) -> None:
    with pytest.raises(DataError, match=r"a\.png holds several channels of 16 bits") as caught:
        decode(png(tmp_path / "a.png", np.stack([LEVELS] * channels, -1), colour))
    assert caught.value.remedy == "Save it as 16-bit grey."


def test_several_channels_of_16_bits_in_a_tiff_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a\.tif holds several channels of 16 bits"):
        decode(tiff(tmp_path / "a.tif", np.stack([LEVELS] * 3, -1), 2))
    eight = np.stack([BYTES] * 3, -1)
    np.testing.assert_array_equal(decode(tiff(tmp_path / "8.tif", eight, 2))[0], eight)


def test_a_damaged_tiff_is_one_error_without_a_warning(tmp_path: Path) -> None:
    Image.fromarray(BYTES).save(tmp_path / "whole.tif")
    (tmp_path / "cut.png").write_bytes((tmp_path / "whole.tif").read_bytes()[:100])
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        with pytest.raises(DataError, match=r"cut\.png is truncated"):
            decode(tmp_path / "cut.png")
    assert said == []
