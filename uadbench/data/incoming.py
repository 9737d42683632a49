"""New images for a trained method: found, read and brought to the scale of the dataset that it was trained on.

A volume is (x, y, z) in RAS orientation; a frame is (c, h, w) in grey levels 0..255.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

import nibabel as nib
import numpy as np
from nibabel.affines import voxel_sizes
from numpy.typing import NDArray
from PIL import Image

from uadbench.core.errors import DataError
from uadbench.data.body import extracted_body
from uadbench.data.nifti import read_volume
from uadbench.data.normalise import mr_scale

Shape = Literal["volume", "frame"]

PICTURES = (".png", ".tif", ".tiff")
NIFTI = (".nii", ".nii.gz")
MIN_BRAIN_MM2 = 2000.0
"""Slices with less brain are left out, as the recipes of brain datasets do: no method was trained on them."""


@runtime_checkable
class NormalisesNew(Protocol):
    """A dataset that says itself how new images are brought to its scale; otherwise its modality says it."""

    new_images: ClassVar[Shape]

    def normalise_new(
        self, data: NDArray[np.float32], spacing: tuple[float, float, float] | None, recipe: str
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Returns intensities in [-1, 1] and the body.

        Args:
            data: A volume (x, y, z) in RAS order, or a frame (c, h, w) in grey levels 0..255.
            spacing: Millimetres a voxel; None for a frame.
            recipe: Recipe of the store that the method was trained on.

        Returns:
            Intensities of the same shape, and the body: (x, y, z), or (h, w) for a frame. A slice without body is
            left out.

        Raises:
            DataError: If the image cannot be used.
        """
        ...


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


@dataclass(frozen=True)
class NewVolume:
    """A volume with the grid it came on.

    Attributes:
        data: Intensities in RAS order, float32 (x, y, z).
        spacing: Millimetres a voxel in RAS order.
        original: The image as it lies on disk, whose grid the heat-map gets.
    """

    data: NDArray[np.float32]
    spacing: tuple[float, float, float]
    original: nib.Nifti1Image


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
    original = _series_image(incoming)
    turned = nib.as_closest_canonical(original)
    x, y, z = voxel_sizes(turned.affine)
    data = np.asarray(turned.dataobj, dtype=np.float32)
    if not np.isfinite(data).all():
        raise DataError(f"{file.parent} holds NaN or infinite values.", "Repair or remove the series.")
    return NewVolume(data, (float(x), float(y), float(z)), original)


def shape_of(dataset: Any) -> Shape:
    """Returns whether a dataset is made of volumes or of frames."""
    if isinstance(dataset, NormalisesNew):
        return dataset.new_images
    return "frame" if dataset.card.modality == "US" else "volume"


def normalise_new(
    dataset: Any, data: NDArray[np.float32], spacing: tuple[float, float, float] | None, recipe: str
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Brings a new image to the scale of a dataset: by its own rule, else by that of its modality.

    Returns:
        Intensities in [-1, 1] and the body, as ``NormalisesNew.normalise_new`` does.

    Raises:
        DataError: If the image is constant, or nothing says how it is normalised.
    """
    if isinstance(dataset, NormalisesNew):
        image, body = dataset.normalise_new(data, spacing, recipe)
    elif recipe == "paper":
        raise DataError(f"The recipe 'paper' of {dataset.name} is not defined for new images.", "Use a strict run.")
    elif dataset.card.modality == "MRI" and spacing is not None:
        image, body = _brain(data, spacing)
    elif dataset.card.modality == "US":
        image, body = data / np.float32(127.5) - 1, np.ones(data.shape[-2:], dtype=bool)
    else:
        raise DataError(f"{dataset.name} does not say how new images are normalised.", "Give it normalise_new.")
    inside = image[body] if image.shape == body.shape else image[:, body]
    if inside.size == 0 or float(inside.min()) == float(inside.max()):
        raise DataError("the image is constant, or no slice shows a body", "Check the file.")
    # The store keeps half precision: what a method was trained on.
    return image.astype(np.float16).astype(np.float32), body


def _brain(
    data: NDArray[np.float32], spacing: tuple[float, float, float]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    body = extracted_body(data)
    if body.mean() > 0.9:
        raise DataError("the volume has no empty background", "Extract the brain first.")
    image = mr_scale(data, body)
    image[~body] = -1
    body[..., body.sum((0, 1)) * spacing[0] * spacing[1] < MIN_BRAIN_MM2] = False
    return image, body


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
    found: list[Incoming] = []
    for folder in sorted({file.parent for file in files}):
        place = folder.relative_to(root).as_posix()
        name = root.name if place == "." else place
        if asked.is_file():
            return [Incoming(asked.stem, (asked,), "dicom")]
        reader: Any = _simpleitk(folder).ImageSeriesReader
        groups = [
            tuple(map(Path, reader.GetGDCMSeriesFileNames(str(folder), uid)))
            for uid in sorted(reader.GetGDCMSeriesIDs(str(folder)))
        ]
        groups = groups or [tuple(file for file in files if file.parent == folder)]
        for number, group in enumerate(groups, 1):
            found.append(Incoming(name if len(groups) == 1 else f"{name}-{number}", group, "dicom"))
    return found


def _simpleitk(what: Path) -> Any:
    try:
        import SimpleITK
    except ImportError as error:
        raise DataError(
            f"{what} holds DICOM, which needs SimpleITK.", "Run: pip install 'uadbench[medical]'"
        ) from error
    SimpleITK.ProcessObject.GlobalWarningDisplayOff()
    return SimpleITK


def _read_dicom(incoming: Incoming) -> Any:
    sitk = _simpleitk(incoming.first)
    names = [str(file) for file in incoming.files]
    try:
        return sitk.ReadImage(names if len(names) > 1 else names[0])
    except RuntimeError as error:
        raise DataError(f"{incoming.first} is truncated or no DICOM image.", "Export it again.") from error


def _series_image(incoming: Incoming) -> nib.Nifti1Image:
    """Returns a series as a NIfTI image; DICOM counts from left, back and below, NIfTI from right."""
    import SimpleITK

    image = _read_dicom(incoming)
    if len(incoming.files) < 2 or image.GetNumberOfComponentsPerPixel() != 1:
        raise DataError(f"{incoming.first} is no slice of a volume.", "Give a folder with the whole series.")
    flip = np.diag([-1.0, -1.0, 1.0])
    affine = np.eye(4)
    affine[:3, :3] = flip @ np.array(image.GetDirection()).reshape(3, 3) @ np.diag(image.GetSpacing())
    affine[:3, 3] = flip @ np.array(image.GetOrigin())
    return nib.Nifti1Image(SimpleITK.GetArrayFromImage(image).T.astype(np.float32), affine)


def _dicom_frame(incoming: Incoming, channels: int) -> NDArray[np.float32]:
    import SimpleITK

    array = np.squeeze(SimpleITK.GetArrayFromImage(_read_dicom(incoming)))
    if (
        len(incoming.files) > 1
        or array.dtype != np.uint8
        or array.ndim not in (2, 3)
        or array.ndim == 3 != array.shape[-1]
    ):
        raise DataError(f"{incoming.first} is no single 8-bit frame.", "Export the frame as PNG.")
    return _planes(Image.fromarray(array), channels)


def _planes(image: Image.Image, channels: int) -> NDArray[np.float32]:
    """Returns (channels, h, w): grey for one channel, colours for three."""
    pixels = np.asarray(image.convert("L" if channels == 1 else "RGB"), dtype=np.float32)
    planes = pixels[None] if channels == 1 else pixels.transpose(2, 0, 1)
    if len(planes) != channels:
        raise DataError(f"the method needs {channels} channels, a picture has 1 or 3", "Use another run.")
    return planes
