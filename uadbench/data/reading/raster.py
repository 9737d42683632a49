"""Reading 2-D images (PNG, TIFF, JPEG, BMP) as grey levels in [0, 1], and masks; never rescaled by image."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from uadbench.core.errors import DataError

MAX_PIXELS = 2**28
"""Larger headers are refused before anything is decoded."""

COLOUR_TOLERANCE = 2
"""Channels of a grey picture stored as colour may differ by so many levels (JPEG)."""


def read_grey(path: Path) -> NDArray[np.float32]:
    """Reads an image as grey levels: 8 and 16 bit by their full range, floats as they are if within [0, 1].

    Returns:
        float32 in [0, 1], (h, w).

    Raises:
        DataError: If the file is missing, damaged, too large, in colour, holds NaN, or is constant.
    """
    pixels, bits = _decode(path)
    if pixels.ndim == 3:
        colour = pixels[..., :3].astype(np.int32) if pixels.shape[2] >= 3 else pixels[..., :1].astype(np.int32)
        if np.ptp(colour, axis=2).max() > COLOUR_TOLERANCE:
            raise DataError(f"{path} is a colour image.", "Convert it to grey.")
        pixels = pixels[..., 0]
    values = pixels.astype(np.float32)
    if not np.isfinite(values).all():
        raise DataError(f"{path} holds NaN or infinite values.", "Repair or remove the file.")
    if values.min() == values.max():
        raise DataError(f"{path} is constant.", "Remove the file.")
    if bits:
        return values / np.float32(2**bits - 1)
    if values.min() < 0 or values.max() > 1:
        raise DataError(f"{path} holds floats outside [0, 1].", "Scale all images alike to [0, 1].")
    return values


def read_channels(path: Path) -> NDArray[np.float32]:
    """Reads an image with its colours, for a rule that crops before it asks whether anything is coloured.

    Returns:
        float32 in [0, 1], (h, w, 3); a grey image has three equal channels.

    Raises:
        DataError: If the file is missing, damaged, too large, or holds floats.
    """
    pixels, bits = _decode(path)
    if not bits:
        raise DataError(f"{path} holds floats.", "Save it with 8 or 16 bits.")
    colour = np.stack([pixels] * 3, axis=2) if pixels.ndim == 2 else pixels[..., :3]
    return colour.astype(np.float32) / np.float32(2**bits - 1)


def read_mask(path: Path, shape: tuple[int, ...] | None = None) -> NDArray[np.bool_]:
    """Reads a mask: 0 and one positive value, on the grid of its image if its shape is given.

    Raises:
        DataError: If it cannot be read, has another shape, or more than two values.
    """
    pixels, _ = _decode(path)
    if pixels.ndim == 3:
        pixels = pixels[..., :3].max(axis=2)
    if shape is not None and pixels.shape != shape:
        raise DataError(f"{path} has the shape {pixels.shape}, its image {shape}.", "Use the mask of that image.")
    if len(np.unique(pixels)) > 2 or (pixels.min() != 0 and pixels.min() != pixels.max()):
        raise DataError(f"{path} holds more than 0 and one other value.", "Binarise the mask.")
    return pixels > 0


def _decode(path: Path) -> tuple[NDArray[Any], int]:
    """Returns pixels and bits a channel (0 for floats)."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                if image.width * image.height > MAX_PIXELS:
                    raise DataError(f"{path} has a header of {image.width} x {image.height} pixels.", "Cut it up.")
                if getattr(image, "n_frames", 1) > 1:
                    raise DataError(f"{path} holds several pages.", "Save one image a file.")
                wide = image.mode.startswith("I")
                flat = image.convert("RGB") if image.mode in ("P", "CMYK", "YCbCr", "RGBA", "LA") else image
                flat = image.convert("L") if image.mode == "1" else flat
                return np.asarray(flat), 16 if wide else 0 if image.mode == "F" else 8
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist.", "Check the table and --source.") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise DataError(f"{path} has a header of too many pixels.", "Download it again, or cut it up.") from error
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError) as error:
        raise DataError(f"{path} is truncated or no image.", "Download it again.") from error
