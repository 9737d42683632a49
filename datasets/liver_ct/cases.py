"""A liver CT case on disk, and its conversion to slices."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from uadbench.core.dataset import Recipe
from uadbench.core.errors import DataError
from uadbench.core.roles import Role
from uadbench.data.preprocessing.normalise import grey_scale, window
from uadbench.data.reading.masks import read_mask
from uadbench.data.reading.nifti import axial, read_labels, read_volume
from uadbench.data.reading.raster import read_grey
from uadbench.datasets.liver_ct import chaos

WINDOW = (0.0, 150.0)
"""HU of Bi et al. 2025 for LiTS; Hounsfield units are absolute, so one window serves all volumes."""

MIN_AREA_MM2 = 2000.0
"""Slices with less liver are omitted in the strict recipe."""

PAPER_LIVER, PAPER_TUMOUR = 10000 / 512**2, 1500 / 512**2
"""Share of the slice that the paper requires for liver and tumour."""


@dataclass(frozen=True, slots=True)
class Case:
    """One volume of a patient, or one image of a 2-D layout.

    Attributes:
        name: Unique name of the case, and of the patient if ``patient`` is empty.
        cohort: Its cohort, e.g. "lits".
        role: Role of the patient.
        image: NIfTI file in HU, folder of a DICOM series, or grey image.
        labels: Its labels, or for a DICOM series the folder of its masks; None for a healthy image of a 2-D layout.
        liver: Label values that are liver.
        lesion: Label values that are lesion.
        patient: Patient.
    """

    name: str
    cohort: str
    role: Role
    image: Path
    labels: Path | None
    liver: tuple[int, ...] = (1,)
    lesion: tuple[int, ...] = ()
    patient: str = ""

    @property
    def files(self) -> list[Path]:
        """All files that are read."""
        return [self.image] if self.labels is None else [self.image, self.labels]


@dataclass(frozen=True, slots=True)
class Slice:
    """A selected slice: image in [-1, 1], body and mask (h, w), spacing and slice distance in mm."""

    index: int
    image: NDArray[np.float32]
    body: NDArray[np.bool_]
    mask: NDArray[np.uint8]
    kind: str
    spacing: tuple[float, float] | None
    thickness: float | None


def convert(case: Case, recipe: Recipe) -> list[Slice]:
    """Reads a case: RAS, native grid, fixed window (strict) or the paper's scale and selection (paper).

    Raises:
        DataError: Naming the file that cannot be used.
    """
    if case.image.suffix == ".png":
        return [_image(case)]
    if case.labels is None:
        raise DataError(f"{case.image} has no liver mask.", "Add one.")
    if case.image.is_dir():
        volume, labels = chaos.read(case.image, case.labels)
    else:
        volume = read_volume(case.image)
        labels = read_labels(case.labels, volume)
    lesion = np.isin(labels, case.lesion)
    liver = np.isin(labels, case.liver) | lesion
    if not liver.any():
        raise DataError(f"{case.labels} holds no liver (labels {case.liver}).", "Check that it is the right file.")
    kept = list(_kept(case, liver, lesion, volume.slice_spacing, recipe))
    if not kept and recipe != "paper":
        raise DataError(f"{case.image} has no slice with enough liver.", "Check its spacing, or remove the volume.")
    kind = "lesion-patient" if lesion.any() else ""
    result: list[Slice] = []
    for z in kept:
        scaled = to_scale(axial(volume.data, z), recipe)
        mask = axial(lesion, z).astype(np.uint8)
        body = ndimage.binary_fill_holes(axial(liver, z))
        result.append(
            Slice(z, scaled, np.asarray(body, bool), mask, kind, volume.slice_spacing, float(volume.spacing[2]))
        )
    return result


def to_scale(plane: NDArray[np.float32], recipe: str) -> NDArray[np.float32]:
    """Scales an axial slice in HU to [-1, 1]: by the window, in the recipe "paper" then by its own extremes."""
    scaled = window(plane, *WINDOW)
    if recipe != "paper":
        return scaled
    low, high = float(scaled.min()), float(scaled.max())
    return np.clip((scaled - low) * 2 / max(high - low, 1e-6) - 1, -1, 1).astype(np.float32)


def paper_takes(area: int, tumour: int, pixels: int) -> bool:
    """Whether the paper uses a slice: much liver and no tumour, or liver with much tumour.

    Args:
        area: Pixels of liver, tumour included.
        tumour: Pixels of tumour.
        pixels: Pixels of the slice.
    """
    if tumour == 0:
        return area > PAPER_LIVER * pixels
    return area >= PAPER_LIVER * pixels and tumour > PAPER_TUMOUR * pixels


def _kept(
    case: Case,
    liver: NDArray[np.bool_],
    lesion: NDArray[np.bool_],
    spacing: tuple[float, float],
    recipe: Recipe,
) -> Iterator[int]:
    pixels = liver.shape[0] * liver.shape[1]
    for z in range(liver.shape[2]):
        area, tumour = int(liver[..., z].sum()), int(lesion[..., z].sum())
        healthy_role = case.role in (Role.TRAIN, Role.CALIB)
        if tumour and healthy_role:
            continue
        if recipe == "paper":
            if paper_takes(area, tumour, pixels) and healthy_role == (tumour == 0):
                yield z
        elif area * spacing[0] * spacing[1] >= MIN_AREA_MM2:
            yield z


def _image(case: Case) -> Slice:
    """A BMAD slice: only the liver on black, grey levels windowed by its authors."""
    grey = read_grey(case.image)
    body = np.asarray(ndimage.binary_fill_holes(grey > 0), bool)
    mask = np.zeros(grey.shape, bool) if case.labels is None else read_mask(case.labels, grey.shape)
    if not body.any():
        raise DataError(f"{case.image} is black.", "Remove it.")
    image = grey_scale(grey, 1.0)
    return Slice(0, image, body | mask, mask.astype(np.uint8), "", None, None)
