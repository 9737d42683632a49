"""Scales new images like the dataset that a method was trained on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from uadbench.core.errors import DataError
from uadbench.data.preprocessing.brain import brain_of, brain_scale, brain_slices
from uadbench.data.preprocessing.intake import GroupScale, Intake, scale_picture, scale_volume
from uadbench.data.preprocessing.normalise import as_stored, grey_scale
from uadbench.data.reading.volume import slices_back, slices_last, slicing_axis

Shape = Literal["volume", "frame", "any"]


@runtime_checkable
class NormalisesNew(Protocol):
    """A dataset with its own rule for scaling new images; otherwise its modality determines the rule."""

    new_images: ClassVar[Shape]

    def normalise_new(
        self, data: NDArray[np.float32], spacing: tuple[float, float, float] | None, modality: str, recipe: str
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Returns intensities in [-1, 1] and the body.

        Args:
            data: A volume (x, y, z) in RAS order, or a frame (c, h, w) in grey levels 0..255.
            spacing: Millimetres per voxel; None for a frame.
            modality: Modality in the DICOM header, e.g. "CT"; "" for other files.
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
    """A dataset whose body is a region that must be given as a mask, such as an organ."""

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
            spacing: Millimetres per voxel; None for a frame.
            recipe: Recipe of the store that the method was trained on.

        Raises:
            DataError: If the image cannot be used.
        """
        ...


def region_of(dataset: Any) -> str:
    """Returns the name of the region that a dataset needs, e.g. "liver"; "" if it needs none."""
    return dataset.region if isinstance(dataset, NormalisesRegion) else ""


def shape_of(dataset: Any) -> Shape:
    """Returns whether a dataset consists of volumes, of frames, or of arbitrary images."""
    if isinstance(dataset, NormalisesNew | NormalisesRegion):
        return dataset.new_images
    return "frame" if dataset.card.modality == "US" else "any" if dataset.card.modality == "any" else "volume"


@dataclass(frozen=True)
class NewImage:
    """An image as read, outside any store.

    Attributes:
        data: A volume (x, y, z) in RAS order, or a frame (c, h, w) in grey levels: 0..255, or as stored where the
            dataset is anybody's images.
        spacing: Millimetres per voxel; None for a frame.
        modality: Modality in the DICOM header, e.g. "CT"; "" for other files.
        bits: Bits of a stored grey level of a frame, 0 for floats.
        region: Body mask, (x, y, z) or (h, w); None: the body is found in the image.
        group: The scale of its volume, if frames are slices and scaled together.
    """

    data: NDArray[np.float32]
    spacing: tuple[float, float, float] | None = None
    modality: str = ""
    bits: int = 8
    region: NDArray[np.bool_] | None = None
    group: GroupScale | None = None


def normalise_new(
    dataset: Any, new: NewImage, recipe: str, intake: Intake | None = None
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Scales a new image like a dataset: by its own rule, otherwise by that of its modality.

    The rules are the ones used for stores (``brain_scale``, ``grey_scale``, ``scale_picture``, ``scale_volume``), so
    the two cannot differ.

    Args:
        dataset: The dataset that the method was trained on.
        new: The image.
        recipe: Recipe of the store that the method was trained on.
        intake: The scale of a store of a user's images; None for the rule of the values themselves.

    Returns:
        Intensities in [-1, 1] and the body, as ``NormalisesNew.normalise_new`` does.

    Raises:
        DataError: If the image is constant, a region is missing, or no scale is defined.
    """
    data, spacing, region = new.data, new.spacing, new.region
    if isinstance(dataset, NormalisesRegion):
        if region is None:
            remedy = f"Give --roi FILE or DIR, or put NAME_{dataset.region}_mask next to it."
            raise DataError(f"{dataset.name} needs a mask of the {dataset.region}, which is missing", remedy)
        image, body = dataset.normalise_region(data, region, spacing, recipe)
    elif isinstance(dataset, NormalisesNew):
        image, body = dataset.normalise_new(data, spacing, new.modality, recipe)
        body = body if region is None else body & region
    elif recipe == "paper":
        raise DataError(f"The recipe 'paper' of {dataset.name} is not defined for new images.", "Use a strict run.")
    elif dataset.card.modality == "MRI" and spacing is not None:
        image, body = _brain(data, spacing, region)
    elif dataset.card.modality == "US":
        image, body = grey_scale(data), _frame(data, region)
    elif dataset.card.modality == "any":
        image, body = _any(new, intake or Intake())
    else:
        raise DataError(f"{dataset.name} does not define how new images are normalised.", "Define normalise_new.")
    inside = image[body] if image.shape == body.shape else image[:, body]
    if inside.size == 0 or float(inside.min()) == float(inside.max()):
        raise DataError("the image is constant, or shows no body", "Check the file.")
    return as_stored(image), body


def _brain(
    data: NDArray[np.float32], spacing: tuple[float, float, float], region: NDArray[np.bool_] | None
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    brain = brain_of(data, region)
    return brain_scale(data, brain), brain & brain_slices(brain, spacing)


def _any(new: NewImage, intake: Intake) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """A user's images by the scale of their store; volumes in the plane in which they are sliced."""
    if new.spacing is None:
        return scale_picture(new.data, new.bits, intake, new.group, new.region)
    axis = slicing_axis(new.spacing, intake.plane)
    turned = None if new.region is None else slices_last(new.region, axis)
    image, body = scale_volume(slices_last(new.data, axis), intake, new.modality, turned)
    return slices_back(image, axis), slices_back(body, axis)


def _frame(data: NDArray[np.float32], region: NDArray[np.bool_] | None) -> NDArray[np.bool_]:
    return np.ones(data.shape[-2:], dtype=bool) if region is None else region
