"""Reading 2-D images (PNG, TIFF, JPEG, BMP, NPY): stored values without per-image rescaling."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from uadbench.core.errors import DataError
from uadbench.data.reading.formats import format_of

MAX_PIXELS = 2**28
"""Larger sizes in a header are refused before decoding."""

COLOUR_TOLERANCE = 2
"""Levels by which the channels of a grey image stored as colour may differ (JPEG)."""

BITS, PHOTOMETRIC = 258, 262
"""Tags of TIFF."""

WHITE_IS_ZERO = 0
"""Value of the tag PHOTOMETRIC."""

LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in grey (ITU-R BT.601)."""


@dataclass(frozen=True)
class Frame:
    """A 2-D image as stored.

    Attributes:
        path: Its file.
        pixels: Stored values, float32 (c, h, w) with one channel or three, finite.
        bits: Bits of a stored value; 0 for floats.
        modality: Modality in the DICOM header; "" for other files.
        spacing: Millimetres per pixel (row, column); None if unknown.
    """

    path: Path
    pixels: NDArray[np.float32]
    bits: int
    modality: str = ""
    spacing: tuple[float, float] | None = None

    @property
    def is_coloured(self) -> bool:
        """Whether the channels differ by more than JPEG artefacts of grey images."""
        return len(self.pixels) == 3 and float(np.ptp(self.pixels, axis=0).max()) > COLOUR_TOLERANCE

    @property
    def top(self) -> float:
        """The largest value of its type: 1 for floats."""
        return float(2**self.bits - 1) if self.bits else 1.0

    def grey(self) -> NDArray[np.float32]:
        """Returns (h, w): the first of channels that agree, the luminance of colours."""
        if len(self.pixels) == 1 or not self.is_coloured:
            return self.pixels[0]
        return np.tensordot(np.array(LUMA, np.float32), self.pixels, axes=1)


def read_picture(path: Path) -> Frame:
    """Reads an image file or a NumPy array.

    Raises:
        DataError: If the file is missing, damaged, too large, has several pages, or holds NaN.
    """
    pixels, bits, _ = decode(path)
    if pixels.ndim == 3:
        pixels = pixels[..., :3] if pixels.shape[2] >= 3 else pixels[..., :1]
        pixels = pixels.transpose(2, 0, 1)
    else:
        pixels = pixels[None]
    values = np.ascontiguousarray(pixels, dtype=np.float32)
    if not np.isfinite(values).all():
        raise DataError(f"{path} holds NaN or infinite values.", "Repair or remove the file.")
    return Frame(path, values, bits)


def read_grey(path: Path) -> NDArray[np.float32]:
    """Reads an image as grey levels: 8 and 16 bit by their full range, floats unchanged if within [0, 1].

    Returns:
        float32 in [0, 1], (h, w).

    Raises:
        DataError: If the file is missing, damaged, too large, in colour, holds NaN, or is constant.
    """
    frame = read_picture(path)
    if frame.is_coloured:
        raise DataError(f"{path} is a colour image.", "Convert it to grey.")
    values = frame.grey()
    if values.min() == values.max():
        raise DataError(f"{path} is constant.", "Remove the file.")
    if values.min() < 0 or values.max() > frame.top:
        raise DataError(f"{path} holds values outside [0, {frame.top:g}].", "Scale all images equally to [0, 1].")
    return values / np.float32(frame.top)


def read_channels(path: Path) -> NDArray[np.float32]:
    """Reads an image in colour, for a rule that crops before it checks for colour.

    Returns:
        float32 in [0, 1], (h, w, 3); a grey image has three equal channels.

    Raises:
        DataError: If the file is missing, damaged, too large, or holds floats.
    """
    frame = read_picture(path)
    if not frame.bits:
        raise DataError(f"{path} holds floats.", "Save it with 8 or 16 bits.")
    planes = np.broadcast_to(frame.pixels, (3, *frame.pixels.shape[1:]))
    return np.ascontiguousarray(planes.transpose(1, 2, 0)) / np.float32(frame.top)


def decode(path: Path) -> tuple[NDArray[Any], int, str]:
    """Returns pixels (h, w) or (h, w, c), bits per channel (0 for floats), and Pillow's mode ("" for arrays).

    Palettes are applied; alpha is the last of 2 or 4 channels.

    Raises:
        DataError: If the file cannot be used.
    """
    found = format_of(path)
    if found is not None and found.kind == "array":
        return (*_array(path), "")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of damaged metadata; damaged pixels are errors
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                if image.width * image.height > MAX_PIXELS:
                    raise DataError(f"{path} has a header of {image.width} x {image.height} pixels.", "Divide it.")
                if getattr(image, "n_frames", 1) > 1:
                    raise DataError(f"{path} holds several pages.", "Save one image per file.")
                mode = image.mode
                tags: Mapping[int, Any] = getattr(image, "tag_v2", {})
                if not mode.startswith("I") and _is_deep(path, tags):
                    raise DataError(f"{path} holds several channels of 16 bits.", "Save it as 16-bit grey.")
                alpha = mode in ("LA", "PA", "RGBA", "La", "RGBa") or "transparency" in image.info
                turned = ImageOps.exif_transpose(image)
                if alpha and not mode.startswith("I"):
                    return np.asarray(turned.convert("RGBA")), 8, mode
                if mode in ("P", "CMYK", "YCbCr", "LAB", "HSV"):
                    turned = turned.convert("RGB")
                flat = turned.convert("L") if mode == "1" else turned
                bits = 16 if mode.startswith("I") else 0 if mode == "F" else 8
                pixels = np.asarray(flat)
                if mode == "I" and pixels.size and (pixels.max() > 65535 or pixels.min() < -32768):
                    raise DataError(f"{path} holds integers of more than 16 bits.", "Save it with 8 or 16 bits.")
                if tags.get(PHOTOMETRIC) == WHITE_IS_ZERO:  # Pillow turns 1 to 8 bits alone
                    pixels = _turned(path, pixels, mode)
                return pixels, bits, mode
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist.", "Check the table and --source.") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise DataError(f"{path} has a header of too many pixels.", "Download it again, or divide it.") from error
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, TypeError) as error:
        raise DataError(f"{path} is truncated or not an image.", "Download it again, or save it as PNG.") from error


def _turned(path: Path, pixels: NDArray[Any], mode: str) -> NDArray[Any]:
    if mode == "F":
        raise DataError(f"{path} holds floats of which 0 is white.", "Save it with 0 as black.")
    return 65535 - pixels if mode.startswith("I;16") else pixels


def _is_deep(path: Path, tags: Mapping[int, Any]) -> bool:
    """Whether a PNG or TIFF holds several channels of 16 bits, which Pillow cuts to 8."""
    if tags:
        return len(tags.get(BITS, ())) > 1 and 16 in tags[BITS]
    with path.open("rb") as stream:
        start = stream.read(26)
    return start.startswith(b"\x89PNG") and start[24] == 16 and start[25] != 0  # bit depth and colour type


def _array(path: Path) -> tuple[NDArray[Any], int]:
    try:
        data: NDArray[Any] = np.load(path, allow_pickle=False)
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist.", "Check the table and --source.") from error
    except (OSError, ValueError, EOFError) as error:
        raise DataError(
            f"{path} is not a NumPy array of numbers.", "Save it with numpy.save, without objects."
        ) from error
    if data.ndim == 3 and data.shape[0] in (1, 3) and data.shape[2] not in (1, 3, 4):
        data = data.transpose(1, 2, 0)
    if data.ndim not in (2, 3) or (data.ndim == 3 and data.shape[2] not in (1, 3, 4)):
        raise DataError(f"{path} has the shape {data.shape}.", "Save (h, w) or (h, w, 3); volumes as NIfTI.")
    if data.dtype.kind == "b":
        return data.astype(np.uint8), 8
    if data.dtype.kind not in "uif":
        raise DataError(f"{path} holds {data.dtype}, not real numbers.", "Save magnitudes.")
    if data.dtype.kind == "f":
        return data, 0
    if data.size and (data.max() > 65535 or data.min() < -32768):
        raise DataError(f"{path} holds integers of more than 16 bits.", "Save it with 8 or 16 bits.")
    return data, 8 if data.dtype.itemsize == 1 else 16
