"""Images and volumes on disk: finding and reading them, for all commands.

A volume is (x, y, z) in RAS orientation; a frame is (c, h, w) as stored.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from uadbench.core.errors import DataError
from uadbench.data.reading.folder import inside, is_hidden, visible
from uadbench.data.reading.formats import VOLUME_KINDS, format_of, is_dicom, stem_of
from uadbench.data.reading.nifti import read_volume
from uadbench.data.reading.raster import COLOUR_TOLERANCE, Frame, read_picture
from uadbench.data.reading.volume import Volume

ANONYMISED = "DICOM_anon"
"""CHAOS's name for the folder of a series, in which anonymisation gave each slice a different series."""


@dataclass(frozen=True)
class Incoming:
    """An image or volume on disk.

    Attributes:
        name: Its path below the input, unique: without suffix, unless another has the same.
        files: One file, or the slices of a DICOM series in order.
        kind: How it is read.
        shape: Whether it is a volume or a 2-D frame.
        frame: Index of the frame in a multi-frame file.
        patient: DICOM patient identifier, used only to group images while reading, never written.
        modality: Modality in the DICOM header; "" for other files.
        series: DICOM series identifier of a slice, used only to group images while reading, never written.
    """

    name: str
    files: tuple[Path, ...]
    kind: Literal["picture", "nifti", "dicom"]
    shape: Literal["volume", "frame"] = "frame"
    frame: int = 0
    patient: str = ""
    modality: str = ""
    series: str = ""

    @property
    def first(self) -> Path:
        """The file to name in messages."""
        return self.files[0]

    @property
    def place(self) -> Path:
        """The file, or the folder of a series of several files."""
        return self.first.parent if self.is_series else self.first

    @property
    def is_series(self) -> bool:
        """Whether it is a volume of DICOM slices in a folder."""
        return self.kind == "dicom" and len(self.files) > 1


@dataclass(frozen=True)
class NewVolume:
    """A volume with its original grid.

    Attributes:
        data: Intensities in RAS order, float32 (x, y, z).
        spacing: Millimetres per voxel in RAS order.
        original: The image as stored on disk, whose grid the heat-map gets; for formats other than NIfTI its volume.
        modality: Modality in the DICOM header; "" for other files.
        notes: Corrections made while reading.
    """

    data: NDArray[np.float32]
    spacing: tuple[float, float, float]
    original: nib.Nifti1Image
    modality: str = ""
    notes: tuple[str, ...] = ()

    @property
    def affine(self) -> NDArray[np.float64]:
        """Voxel index of ``data`` to millimetres, RAS+, (4, 4)."""
        return np.asarray(nib.as_closest_canonical(self.original).affine, dtype=np.float64)


def find_incoming(path: Path) -> list[Incoming]:
    """Returns the images and volumes of a file or folder, sorted by name; other files are ignored.

    Raises:
        DataError: If the path does not exist or contains nothing readable.
    """
    return look_into(path)[0]


def look_into(path: Path) -> tuple[list[Incoming], Counter[str]]:
    """Returns what ``find_incoming`` does, and the number of ignored files by ending.

    Raises:
        DataError: As ``find_incoming``.
    """
    if not path.exists():
        raise DataError(f"{path} does not exist.", "Check --input.")
    if path.name in ("", ".."):  # "." has no name, which a series in it would be called by
        path = path.resolve()
    root = path if path.is_dir() else path.parent
    found, passed = discover(root, visible(path) if path.is_dir() else [path])
    if path.is_file() and found and found[0].kind == "dicom":
        found = [replace(one, name=f"{path.stem}-{one.frame:04d}" if len(found) > 1 else path.stem) for one in found]
    if not found:
        raise DataError(f"{path} holds no image.", "Give PNG, TIFF, NIfTI or DICOM.")
    return found, passed


def discover(root: Path, files: Iterable[Path]) -> tuple[list[Incoming], Counter[str]]:
    """Returns the images and volumes among files, sorted by name, and the number of ignored files by ending.

    Args:
        root: Folder that names are relative to.
        files: Files below it.

    Raises:
        DataError: If a file is a link that leaves the folder.
    """
    listed = [inside(root, file) for file in files if not is_hidden(root, file)]
    dicom = [file for file in listed if is_dicom(file)]
    known = set(dicom)
    plain = [file for file in listed if file not in known and format_of(file)]
    passed = Counter(file.suffix.lower() or "no ending" for file in listed if file not in known and not format_of(file))
    found = _series(dicom, root)
    used = {file for one in found for file in one.files}
    passed.update("DICOM without an image" for file in dicom if file not in used)
    for file in plain:
        form = format_of(file)
        volume = form is not None and form.kind in VOLUME_KINDS
        kind, shape = ("nifti", "volume") if volume else ("picture", "frame")
        found.append(Incoming(_stem(file, root), (file,), kind, shape))
    return sorted(unique(found, root), key=lambda each: each.name), passed


def is_slice(incoming: Incoming) -> bool:
    """Whether a volume is one DICOM file that holds one slice."""
    if incoming.kind != "dicom" or incoming.shape != "volume" or incoming.is_series:
        return False
    from uadbench.data.reading.dicom_header import header, is_enhanced

    try:
        return not is_enhanced(header(incoming.first))
    except DataError:  # reported when it is read
        return True


def as_slices(source: Path, found: Sequence[Incoming]) -> list[Incoming]:
    """Returns images with each slice of their DICOM series as a 2-D image of its own, sorted by name.

    Args:
        source: File or folder that they were found in.
        found: Images and volumes; enhanced files stay volumes.
    """
    root = source if source.is_dir() else source.parent
    slices: list[Incoming] = []
    for one in found:
        if one.is_series:
            slices += [replace(one, name=_stem(file, root), files=(file,), shape="frame") for file in one.files]
        else:
            slices.append(replace(one, shape="frame") if is_slice(one) else one)
    return sorted(unique(slices, root), key=lambda each: each.name)


def read_frame(incoming: Incoming, channels: int) -> NDArray[np.float32]:
    """Reads a 2-D image or a DICOM frame as grey levels 0..255 by the range of its type, float32 (channels, h, w).

    Raises:
        DataError: If it cannot be read, or the method needs neither 1 nor 3 channels.
    """
    frame = read_stored(incoming)
    values = frame.pixels * np.float32(255 / frame.top)
    if values.min() < 0 or values.max() > 255 + COLOUR_TOLERANCE:
        raise DataError(
            f"{frame.path} holds values outside [0, {frame.top:g}], the range of its type.", "Scale it to that range."
        )
    if channels not in (1, 3):
        raise DataError(f"the method needs {channels} channels, an image has 1 or 3", "Use another run.")
    if channels == 1:
        grey = Frame(frame.path, values, 8).grey()[None]
        return np.round(grey) if frame.is_coloured else grey
    return np.ascontiguousarray(np.broadcast_to(values, (3, *values.shape[1:])))


def read_stored(incoming: Incoming) -> Frame:
    """Reads a 2-D image as stored.

    Raises:
        DataError: If it cannot be read.
    """
    if incoming.kind != "dicom":
        return read_picture(incoming.first)
    from uadbench.data.reading.dicom import read_dicom_frame  # pydicom and SimpleITK, only needed for DICOM

    return read_dicom_frame(incoming.first, incoming.frame)


def read_any_volume(incoming: Incoming) -> Volume:
    """Reads a volume of any format.

    Raises:
        DataError: If it cannot be read or has no geometry.
    """
    if incoming.kind == "nifti":
        return read_volume(incoming.first)
    from uadbench.data.reading.dicom import read_series

    # The files of a series were determined when it was found.
    return read_series(incoming.place, incoming.files, one_series=False)[0]


def read_new_volume(incoming: Incoming) -> NewVolume:
    """Reads a volume with its original grid.

    Raises:
        DataError: If it cannot be read or has no geometry.
    """
    volume = read_any_volume(incoming)
    original = nib.load(incoming.first) if str(incoming.first).lower().endswith((".nii", ".nii.gz")) else None
    if not isinstance(original, nib.Nifti1Image):
        original = nib.Nifti1Image(volume.data, volume.affine)
    return NewVolume(volume.data, volume.spacing, original, volume.modality, volume.notes)


def unique(found: list[Incoming], root: Path) -> list[Incoming]:
    """Gives those of the same name the full path of their file: a.png and a.tif, or a.dcm and its preview a.png.

    Raises:
        DataError: If two still have one name.
    """
    frames = Counter(one.first for one in found)
    while twice := {name for name, count in Counter(one.name for one in found).items() if count > 1}:
        full: list[Incoming] = []
        for one in found:
            end = f"-{one.frame:04d}" if frames[one.first] > 1 else ""
            name = one.first.relative_to(root).as_posix() + end
            full.append(replace(one, name=name) if one.name in twice else one)
        if full == found:
            raise DataError(f"Several images are called {sorted(twice)[0]}.", "Rename one of them.")
        found = full
    return found


def _stem(file: Path, root: Path) -> str:
    return file.relative_to(root).with_name(stem_of(file)).as_posix()


def _series(files: Sequence[Path], root: Path) -> list[Incoming]:
    """Groups DICOM files by folder and series; names contain file or folder names and never identifiers."""
    if not files:
        return []
    from uadbench.data.reading.dicom_header import grouped

    found: list[Incoming] = []
    for folder in sorted({file.parent for file in files}):
        place = folder.relative_to(root).as_posix()
        name = root.name if place == "." else place
        groups = grouped([file for file in files if file.parent == folder], one_series=folder.name == ANONYMISED)
        series = [group for group in groups if group.shape == "volume" and len(group.files) > 1]
        for group in groups:
            if group.shape == "frame" or len(group.files) == 1:
                stem = _stem(group.files[0], root)
                for frame in range(group.frames):
                    called = stem if group.frames == 1 else f"{stem}-{frame:04d}"
                    found.append(
                        Incoming(
                            called,
                            group.files,
                            "dicom",
                            group.shape,
                            frame,
                            group.patient,
                            group.modality,
                            group.series,
                        )
                    )
            else:
                called = name if len(series) == 1 else f"{name}-{series.index(group) + 1}"
                found.append(
                    Incoming(called, group.files, "dicom", "volume", 0, group.patient, group.modality, group.series)
                )
    return found
