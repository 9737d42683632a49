"""The supported file formats, for all commands and datasets; docs/how-to/own-data.md lists them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Kind = Literal["picture", "array", "nifti", "itk", "dicom"]


@dataclass(frozen=True)
class Format:
    """A file format.

    Attributes:
        title: Its name.
        kind: How it is read.
        suffixes: Endings in lower case; files are recognised in any case.
        reader: The library that reads it.
        what: What is read, and what is refused.
    """

    title: str
    kind: Kind
    suffixes: tuple[str, ...]
    reader: str
    what: str


FORMATS = (
    Format("PNG", "picture", (".png",), "Pillow", "1, 8 and 16 bits; palettes applied; alpha left out of images"),
    Format("JPEG", "picture", (".jpg", ".jpeg"), "Pillow", "turned as EXIF says"),
    Format("TIFF", "picture", (".tif", ".tiff"), "Pillow", "8, 16 and 32 bits, floats; one page per file"),
    Format("BMP", "picture", (".bmp",), "Pillow", "grey, palette and colour"),
    Format("NumPy", "array", (".npy",), "numpy", "(h, w), (h, w, 3) or (h, w, 4) of numbers; never pickled objects"),
    Format(
        "NIfTI", "nifti", (".nii.gz", ".nii"), "nibabel", "3-D with an affine; RGB, complex and 4-D are refused by name"
    ),
    Format("NRRD", "itk", (".nrrd", ".nhdr"), "SimpleITK", "3-D scalars"),
    Format("MetaImage", "itk", (".mha", ".mhd"), "SimpleITK", "3-D scalars"),
    Format(
        "DICOM",
        "dicom",
        (".dcm", ".dicom", ".ima"),
        "pydicom, SimpleITK",
        "with or without suffix: series of CT and MR slices, enhanced CT and MR, US, DX, CR, MG, multi-frame; "
        "uncompressed, RLE, JPEG, JPEG Lossless, JPEG-LS and JPEG 2000",
    ),
)
"""All formats; longer endings before the shorter ones that they contain."""

VOLUME_KINDS = ("nifti", "itk")


def format_of(path: Path) -> Format | None:
    """Returns the format given by a file's name, None for an unknown ending."""
    name = path.name.lower()
    return next((one for one in FORMATS for end in one.suffixes if name.endswith(end)), None)


def stem_of(path: Path) -> str:
    """Returns a file's name without the ending of its format, e.g. "a.b" for "a.b.nii.gz"."""
    name = path.name
    found = format_of(path)
    ends = found.suffixes if found else ()
    end = next((end for end in ends if name.lower().endswith(end)), path.suffix if found else "")
    return name[: len(name) - len(end)] if end else name


def is_dicom(path: Path) -> bool:
    """Returns whether a file is DICOM, by its ending or, for names without a known ending, by its first bytes."""
    found = format_of(path)
    if found is not None:
        return found.kind == "dicom"
    if path.name.upper() == "DICOMDIR":
        return False
    try:
        with path.open("rb") as stream:
            return stream.read(132)[128:] == b"DICM"
    except OSError:
        return False


def table() -> str:
    """Returns the formats as a Markdown table."""
    lines = ["| format | endings, in any case | read by | what |", "|---|---|---|---|"]
    for one in FORMATS:
        ends = ", ".join(f"`{end}`" for end in one.suffixes)
        lines.append(f"| {one.title} | {ends} | {one.reader} | {one.what} |")
    return "\n".join(lines)
