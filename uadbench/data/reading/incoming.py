"""New images for a trained method: found and read; ``incoming_scale`` brings them to the scale of a dataset.

A volume is (x, y, z) in RAS orientation; a frame is (c, h, w) in grey levels 0..255.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from uadbench.core.errors import DataError
from uadbench.data.reading.nifti import read_volume

PICTURES = (".png", ".tif", ".tiff", ".jpg", ".jpeg", ".bmp")
NIFTI = (".nii", ".nii.gz")

ANONYMISED = "DICOM_anon"
"""How CHAOS calls the folder of a series; anonymisation gave each slice in it a series of its own."""


@dataclass(frozen=True)
class Incoming:
    """A new image or volume on disk.

    Attributes:
        name: Its path below the input without suffix, unique.
        files: One file, or the slices of a DICOM series in order.
        kind: How it is read.
    """

    name: str
    files: tuple[Path, ...]
    kind: Literal["picture", "nifti", "dicom"]

    @property
    def first(self) -> Path:
        """The file that messages name."""
        return self.files[0]

    @property
    def is_series(self) -> bool:
        """Whether it is a volume of DICOM slices, which a folder holds."""
        return self.kind == "dicom" and len(self.files) > 1


@dataclass(frozen=True)
class NewVolume:
    """A volume with the grid it came on.

    Attributes:
        data: Intensities in RAS order, float32 (x, y, z).
        spacing: Millimetres a voxel in RAS order.
        original: The image as it lies on disk, whose grid the heat-map gets; of a DICOM series its volume.
        modality: What a DICOM series says; "" for other files.
    """

    data: NDArray[np.float32]
    spacing: tuple[float, float, float]
    original: nib.Nifti1Image
    modality: str = ""

    @property
    def affine(self) -> NDArray[np.float64]:
        """Voxel index of ``data`` to millimetres, RAS+, (4, 4)."""
        return np.asarray(nib.as_closest_canonical(self.original).affine, dtype=np.float64)


def find_incoming(path: Path) -> list[Incoming]:
    """Returns the images and volumes of a file or folder, sorted by name; other files are passed over.

    Raises:
        DataError: If the path does not exist or holds nothing that can be read.
    """
    if not path.exists():
        raise DataError(f"{path} does not exist.", "Check --input.")
    root = path if path.is_dir() else path.parent
    files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
    files = [file for file in files if not any(part.startswith(".") for part in file.relative_to(root).parts)]
    plain = [file for file in files if _suffix(file)]
    stems = Counter(_stem(file, root) for file in plain)
    found = [
        Incoming(
            # Where a.png and a.tif lie side by side, each keeps its whole name.
            _stem(file, root) if stems[_stem(file, root)] == 1 else file.relative_to(root).as_posix(),
            (file,),
            "picture" if _suffix(file) in PICTURES else "nifti",
        )
        for file in plain
    ]
    found += _series([file for file in files if not _suffix(file) and _is_dicom(file)], root, path)
    if not found:
        raise DataError(f"{path} holds no image.", "Give PNG, TIFF, NIfTI or DICOM.")
    return sorted(found, key=lambda each: each.name)


def read_frame(incoming: Incoming, channels: int) -> NDArray[np.float32]:
    """Reads a picture or a single DICOM frame as grey levels 0..255, float32 (channels, h, w).

    Raises:
        DataError: If it cannot be read, has several pages, or is neither 8 nor 16 bits deep.
    """
    file = incoming.first
    if incoming.kind == "dicom":
        return _dicom_frame(incoming, channels)
    try:
        with Image.open(file) as image:
            if getattr(image, "n_frames", 1) > 1:
                raise DataError(f"{file} holds several pages.", "Give one image a file.")
            if image.mode.startswith("I;16"):
                grey = np.asarray(image, dtype=np.float32) / np.float32(257)
                return np.repeat(grey[None], channels, axis=0)
            if image.mode in ("I", "F"):
                raise DataError(f"{file} is neither 8 nor 16 bits deep.", "Save it as 8-bit grey.")
            return _planes(image, channels)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError(f"{file} is truncated or no image.", "Save it again as PNG.") from error


def read_new_volume(incoming: Incoming) -> NewVolume:
    """Reads a NIfTI file or a DICOM series.

    Raises:
        DataError: If it cannot be read or has no geometry.
    """
    file = incoming.first
    if incoming.kind == "nifti":
        volume = read_volume(file)
        original = nib.load(file)
        assert isinstance(original, nib.Nifti1Image)  # noqa: S101 (read_volume accepts nothing else)
        return NewVolume(volume.data, volume.spacing, original)
    if len(incoming.files) < 2:
        raise DataError(f"{file} is no slice of a volume.", "Give a folder with the whole series.")
    read_series: Any = _dicom(file).read_series
    # What belongs to one series was told when it was found.
    volume, modality = read_series(file.parent, incoming.files, one_series=False)
    return NewVolume(volume.data, volume.spacing, nib.Nifti1Image(volume.data, volume.affine), modality)


def _suffix(file: Path) -> str:
    name = file.name.lower()
    return next((end for end in (*NIFTI[::-1], *PICTURES) if name.endswith(end)), "")


def _stem(file: Path, root: Path) -> str:
    return file.relative_to(root).as_posix()[: -len(_suffix(file))]


def _is_dicom(file: Path) -> bool:
    if file.suffix.lower() in (".dcm", ".dicom", ".ima"):
        return True
    with file.open("rb") as stream:
        return stream.read(132)[128:] == b"DICM"


def _series(files: Sequence[Path], root: Path, asked: Path) -> list[Incoming]:
    """Groups DICOM files by folder and series; a name says the folder and never an identifier."""
    if files and asked.is_file():
        return [Incoming(asked.stem, (asked,), "dicom")]
    found: list[Incoming] = []
    for folder in sorted({file.parent for file in files}):
        place = folder.relative_to(root).as_posix()
        name = root.name if place == "." else place
        groups: dict[str, list[Path]] = {}
        for file in files:
            if file.parent == folder:
                groups.setdefault("" if folder.name == ANONYMISED else _series_of(file), []).append(file)
        for number, group in enumerate(groups.values(), 1):
            found.append(Incoming(name if len(groups) == 1 else f"{name}-{number}", tuple(group), "dicom"))
    return found


def _dicom(file: Path) -> Any:
    """Imports the reader of DICOM, which needs an extra."""
    try:
        from uadbench.data.reading import dicom
    except ImportError as error:
        raise DataError(f"{file} is DICOM, which needs pydicom.", "Run: pip install 'uadbench[medical]'") from error
    return dicom


def _series_of(file: Path) -> str:
    """Returns what tells the series of a file from others; "" if the file does not say."""
    pydicom: Any = _dicom(file).pydicom
    try:
        return str(
            pydicom.dcmread(file, specific_tags=["SeriesInstanceUID"], stop_before_pixels=True).SeriesInstanceUID
        )
    except Exception:  # what cannot be read is named when its turn comes
        return ""


def _dicom_frame(incoming: Incoming, channels: int) -> NDArray[np.float32]:
    pydicom: Any = _dicom(incoming.first).pydicom
    try:
        pixels = np.squeeze(np.asarray(pydicom.dcmread(incoming.first).pixel_array))
    except Exception as error:  # decoders raise what they like
        raise DataError(f"{incoming.first} holds no readable pixels.", "Export the frame as PNG.") from error
    coloured = pixels.ndim == 3 and pixels.shape[-1] == 3
    if len(incoming.files) > 1 or pixels.dtype != np.uint8 or not (pixels.ndim == 2 or coloured):
        raise DataError(f"{incoming.first} is no single 8-bit frame.", "Export the frame as PNG.")
    return _planes(Image.fromarray(pixels), channels)


def _planes(image: Image.Image, channels: int) -> NDArray[np.float32]:
    """Returns (channels, h, w): grey for one channel, colours for three."""
    pixels = np.asarray(image.convert("L" if channels == 1 else "RGB"), dtype=np.float32)
    planes = pixels[None] if channels == 1 else pixels.transpose(2, 0, 1)
    if len(planes) != channels:
        raise DataError(f"the method needs {channels} channels, a picture has 1 or 3", "Use another run.")
    return planes
