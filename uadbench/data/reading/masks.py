"""Reading masks stored as 2-D images: one rule for grey levels, labels, colours, transparency and JPEG.

- Two values, 0 and another: the other is the mask.
- Colours on black: non-black pixels are the mask; with ``labels`` each value of a grey or palette mask is a label.
- Varying transparency: opaque pixels are the mask, restricted to non-black ones if there are any.
- JPEG: values of at least half the range are the mask; a darker one that is not black is refused, and so are labels.
- Anything else is refused; masks are never guessed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from uadbench.core.errors import DataError
from uadbench.data.reading.raster import decode

MOST_COLOURS = 8
"""Number of colours above which a file is an image, not a mask."""

WHITE = (255, 65535)
"""Values of masks drawn in white, with 8 and 16 bits."""


@dataclass(frozen=True)
class Drawn:
    """A mask.

    Attributes:
        inside: True inside the mask, (h, w).
        note: Assumptions; "" if none.
    """

    inside: NDArray[np.bool_]
    note: str = ""


def read_mask(path: Path, shape: tuple[int, ...] | None = None, labels: Sequence[int] = ()) -> NDArray[np.bool_]:
    """Reads a mask, on the grid of its image if its shape is given.

    Raises:
        DataError: As ``read_drawn_mask``.
    """
    return read_drawn_mask(path, shape, labels).inside


def read_drawn_mask(path: Path, shape: tuple[int, ...] | None = None, labels: Sequence[int] = ()) -> Drawn:
    """Reads a mask and notes assumptions.

    Args:
        path: The file.
        shape: Shape (h, w) of its image; None if it does not matter.
        labels: Values of the mask; empty for binary masks.

    Raises:
        DataError: If it cannot be read, has another shape, or its values are ambiguous.
    """
    pixels, bits, mode = decode(path)
    if shape is not None and pixels.shape[:2] != tuple(shape):
        raise DataError(f"{path} has the shape {pixels.shape[:2]}, its image {shape}.", "Use the mask of that image.")
    jpeg = path.suffix.lower() in (".jpg", ".jpeg")
    if labels:
        if jpeg:
            raise DataError(
                f"{path} is a JPEG, which changes the values of labels.", "Save labels as PNG, or remove --set lesion."
            )
        values = _labels(path, pixels, mode)
        _check_one_value(path, values, labels, mode)
        return Drawn(np.isin(values, labels))
    if pixels.ndim == 3 and pixels.shape[2] in (2, 4):
        alpha, colours = pixels[..., -1], pixels[..., :-1]
        if np.ptp(alpha) > 0:
            opaque = alpha >= 128
            drawn = np.ptp(colours[opaque], axis=0).max() > 0 if opaque.any() else False
            inside = opaque & (colours.max(2) > 0) if drawn else opaque
            return Drawn(inside, "masks with transparency: what is opaque counts as marked")
        pixels = colours
    if jpeg:
        grey = pixels.max(axis=2) if pixels.ndim == 3 else pixels
        if 0 < grey.max() < 128:
            raise DataError(f"{path} is a JPEG with no value of at least half the range.", "Binarise the mask.")
        return Drawn(grey >= 128, "JPEG masks: values of at least half the range count as marked")
    if pixels.ndim == 3:
        return Drawn(_coloured(path, pixels))
    values = np.unique(pixels)
    if len(values) > 2 or (values[0] != 0 and len(values) > 1):
        if bits == 0 or len(values) > MOST_COLOURS:
            raise DataError(f"{path} holds more than 0 and one other value.", "Binarise the mask.")
        named = ", ".join(f"{value:g}" for value in values)
        raise DataError(
            f"{path} holds the values {named}: more than 0 and one other value.",
            "Binarise the mask, or select labels with --set lesion=2,3.",
        )
    return Drawn(pixels > 0)


def _coloured(path: Path, pixels: NDArray[Any]) -> NDArray[np.bool_]:
    if np.ptp(pixels, axis=2).max() == 0 and len(np.unique(pixels)) > 2:
        raise DataError(f"{path} holds more than 0 and one other value.", "Binarise the mask.")
    drawn = pixels.max(axis=2) > 0
    # Few colours are searched for in what is drawn alone, since most of a mask is black.
    colours = np.unique(pixels[drawn], axis=0)
    if len(colours) > MOST_COLOURS or (drawn.all() and len(colours) > 1):
        raise DataError(f"{path} is not colours on black.", "Binarise the mask.")
    return drawn


def _labels(path: Path, pixels: NDArray[Any], mode: str) -> NDArray[Any]:
    """Returns the label of each pixel: a palette's index, or the value of a grey mask."""
    if mode == "P":
        with Image.open(path) as image:
            return np.asarray(image)
    if mode == "1":
        return (pixels > 0).astype(np.uint8)
    if pixels.ndim == 2:
        return pixels
    if np.ptp(pixels[..., :3], axis=2).max() == 0:
        return pixels[..., 0]
    raise DataError(f"{path} is a colour mask: its labels have no numbers.", "Remove --set lesion, or save labels.")


def _check_one_value(path: Path, values: NDArray[Any], labels: Sequence[int], mode: str) -> None:
    """Refuses a mask drawn in one value, white or that of 1-bit files, which is not among the labels."""
    held = [value for value in np.unique(values) if value != 0]
    if len(held) == 1 and (held[0] in WHITE or mode == "1") and held[0] not in labels:
        wanted = ", ".join(str(label) for label in labels)
        raise DataError(
            f"{path} holds the values 0 and {held[0]:g}, none of the labels {wanted}.", f"Use --set lesion={held[0]:g}."
        )
