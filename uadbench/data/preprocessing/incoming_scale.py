"""New images brought to the scale of the dataset that a method was trained on."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from uadbench.core.errors import DataError
from uadbench.data.preprocessing.body import extracted_body
from uadbench.data.preprocessing.intake import Intake, scale_picture, scale_volume
from uadbench.data.preprocessing.normalise import mr_scale
from uadbench.data.reading.volume import slices_back, slices_last, slicing_axis

Shape = Literal["volume", "frame", "any"]

MIN_BRAIN_MM2 = 2000.0
"""Slices with less brain are left out, as the recipes of brain datasets do: no method was trained on them."""


@runtime_checkable
class NormalisesNew(Protocol):
    """A dataset that says itself how new images are brought to its scale; otherwise its modality says it."""

    new_images: ClassVar[Shape]

    def normalise_new(
        self, data: NDArray[np.float32], spacing: tuple[float, float, float] | None, modality: str, recipe: str
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Returns intensities in [-1, 1] and the body.

        Args:
            data: A volume (x, y, z) in RAS order, or a frame (c, h, w) in grey levels 0..255.
            spacing: Millimetres a voxel; None for a frame.
            modality: What a DICOM series says, e.g. "CT"; "" for other files.
            recipe: Recipe of the store that the method was trained on.

        Returns:
            Intensities of the same shape, and the body: (x, y, z), or (h, w) for a frame. A slice without body is
            left out.

        Raises:
            DataError: If the image cannot be used.
        """
        ...


@runtime_checkable
class NormalisesRegion(Protocol):
    """A dataset whose body is a region that no rule finds in an image, such as an organ: its mask must be given."""

    name: ClassVar[str]
    new_images: ClassVar[Shape]
    region: ClassVar[str]

    def normalise_region(
        self,
        data: NDArray[np.float32],
        region: NDArray[np.bool_],
        spacing: tuple[float, float, float] | None,
        recipe: str,
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Returns intensities in [-1, 1] and the body, as ``NormalisesNew.normalise_new`` does.

        Args:
            data: A volume (x, y, z) in RAS order, or a frame (c, h, w) in grey levels 0..255.
            region: The organ, (x, y, z) or (h, w).
            spacing: Millimetres a voxel; None for a frame.
            recipe: Recipe of the store that the method was trained on.

        Raises:
            DataError: If the image cannot be used.
        """
        ...


def region_of(dataset: Any) -> str:
    """Returns what a dataset calls the region that it needs, e.g. "liver"; "" if it needs none."""
    return dataset.region if isinstance(dataset, NormalisesRegion) else ""


def shape_of(dataset: Any) -> Shape:
    """Returns whether a dataset is made of volumes, of frames, or of whatever it was given."""
    if isinstance(dataset, NormalisesNew | NormalisesRegion):
        return dataset.new_images
    return "frame" if dataset.card.modality == "US" else "any" if dataset.card.modality == "any" else "volume"


def normalise_new(
    dataset: Any,
    data: NDArray[np.float32],
    spacing: tuple[float, float, float] | None,
    recipe: str,
    modality: str = "",
    region: NDArray[np.bool_] | None = None,
    intake: Intake | None = None,
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Brings a new image to the scale of a dataset: by its own rule, else by that of its modality.

    Args:
        dataset: The dataset that the method was trained on.
        data: A volume (x, y, z) in RAS order, or a frame (c, h, w) in grey levels 0..255.
        spacing: Millimetres a voxel; None for a frame.
        recipe: Recipe of the store that the method was trained on.
        modality: What a DICOM series says, e.g. "CT"; "" for other files.
        region: The body where a mask says it, (x, y, z) or (h, w); None: it is found in the image.
        intake: The scale of a store of anybody's images; None for the rule of the values themselves.

    Returns:
        Intensities in [-1, 1] and the body, as ``NormalisesNew.normalise_new`` does.

    Raises:
        DataError: If the image is constant, a region is lacking, or nothing says how it is normalised.
    """
    if isinstance(dataset, NormalisesRegion):
        if region is None:
            remedy = f"Give --roi FILE or DIR, or put NAME_{dataset.region}_mask beside it."
            raise DataError(f"{dataset.name} needs a mask of the {dataset.region}, and there is none", remedy)
        image, body = dataset.normalise_region(data, region, spacing, recipe)
    elif isinstance(dataset, NormalisesNew):
        image, body = dataset.normalise_new(data, spacing, modality, recipe)
        body = body if region is None else body & region
    elif recipe == "paper":
        raise DataError(f"The recipe 'paper' of {dataset.name} is not defined for new images.", "Use a strict run.")
    elif dataset.card.modality == "MRI" and spacing is not None:
        image, body = _brain(data, spacing, region)
    elif dataset.card.modality == "US":
        image, body = data / np.float32(127.5) - 1, _frame(data, region)
    elif dataset.card.modality == "any":
        image, body = _any(data, spacing, modality, region, intake or Intake())
    else:
        raise DataError(f"{dataset.name} does not say how new images are normalised.", "Give it normalise_new.")
    inside = image[body] if image.shape == body.shape else image[:, body]
    if inside.size == 0 or float(inside.min()) == float(inside.max()):
        raise DataError("the image is constant, or no slice shows a body", "Check the file.")
    # The store keeps half precision: what a method was trained on.
    return image.astype(np.float16).astype(np.float32), body


def _brain(
    data: NDArray[np.float32], spacing: tuple[float, float, float], region: NDArray[np.bool_] | None
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    body = extracted_body(data) if region is None else region.copy()
    if body.mean() > 0.9:
        raise DataError("the volume has no empty background", "Extract the brain first, or give its mask with --roi.")
    image = mr_scale(data, body)
    image[~body] = -1
    body[..., body.sum((0, 1)) * spacing[0] * spacing[1] < MIN_BRAIN_MM2] = False
    return image, body


def _any(
    data: NDArray[np.float32],
    spacing: tuple[float, float, float] | None,
    modality: str,
    region: NDArray[np.bool_] | None,
    intake: Intake,
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Anybody's images by the scale of their store; volumes in the plane in which they are sliced."""
    if spacing is None:
        return scale_picture(data, 8, intake, region=region)
    axis = slicing_axis(spacing, intake.plane)
    turned = None if region is None else slices_last(region, axis)
    image, body = scale_volume(slices_last(data, axis), intake, modality, turned)
    return slices_back(image, axis), slices_back(body, axis)


def _frame(data: NDArray[np.float32], region: NDArray[np.bool_] | None) -> NDArray[np.bool_]:
    return np.ones(data.shape[-2:], dtype=bool) if region is None else region
