"""The intensity scale of images of any modality: decided once, stored, reused by ``predict``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, field_validator

from uadbench.core.errors import DataError
from uadbench.data.preprocessing.body import (
    background_level,
    fill_slices,
    found_body,
    large_parts,
    largest_part,
    tissue_level,
)
from uadbench.data.preprocessing.brain import RINGING
from uadbench.data.preprocessing.look import Look, look_at
from uadbench.data.preprocessing.normalise import mr_scale, robust_location, window

CT_WINDOW = (-160.0, 240.0)
"""The usual soft-tissue window of the abdomen (level 40, width 400)."""

AIR = -300.0
"""HU below which a voxel is not body; in CT clipped above it, everything above the minimum is body."""

FEW = 0.05
"""Share of negative values below which they are hardly tissue on a scale whose zero is the background."""

FILLED = 0.1
"""Share of the range of their type below which pictures are said not to fill it."""

MODALITY = r"(mr|ct|us)(-[a-z0-9]+)*|other"


class Intake(BaseModel):
    """The scale of a store of a user's images.

    Attributes:
        modality: mr, ct, us or other, with sequence or organ if known (mr-flair, ct-liver); "" before it is known.
        window: Values mapped to -1 and 1; None for the rule of the modality.
        hu: "windowed" for CT images that are already windowed.
        colour: How 2-D colour images are read: "" refuses them.
        body: "frame" for all of the image, "auto" for the body found in it, "" for auto where there is a background by
            nature (MR, CT volumes) and frame elsewhere.
        plane: axial, coronal or sagittal; "" for the plane of acquisition.
        keep_aspect: Whether slices are padded to squares.
        together: Whether pictures are slices of volumes, scaled per patient and series.
        alone: Whether no patients were known: each picture is then a volume of its own.
        loose: Whether pictures are slices of DICOM series.
        tops: What white is in pictures: "8", "16" and "float" to the largest value.
        patient_pattern: Regular expression that finds the patient in a path.
        shape: Whether the store was made of volumes or of pictures, which have no common scale; "" in older stores.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    modality: str = ""
    window: tuple[FiniteFloat, FiniteFloat] | None = None
    hu: Literal["", "windowed"] = ""
    colour: Literal["", "grey", "rgb"] = ""
    body: Literal["", "auto", "frame"] = ""
    plane: Literal["", "axial", "coronal", "sagittal"] = ""
    keep_aspect: bool = False
    together: bool = False
    alone: bool = False
    loose: bool = False
    tops: dict[str, float] = Field(default_factory=lambda: {"8": 255.0, "16": 65535.0, "float": 1.0})
    patient_pattern: str = ""
    shape: Literal["", "volume", "frame"] = ""

    @field_validator("modality")
    @classmethod
    def _known(cls, value: str) -> str:
        if value and not re.fullmatch(MODALITY, value):
            raise ValueError("mr, ct or us, with a sequence or organ such as mr-flair or ct-liver, or other")
        return value

    @property
    def family(self) -> str:
        """The modality without sequence and organ."""
        return self.modality.split("-")[0]

    @property
    def finds_body(self) -> bool:
        """Whether the body of 2-D images is segmented."""
        return self.body == "auto" or (self.body == "" and self.together)


def fault_of(look: Look, intake: Intake) -> tuple[str, str] | None:  # noqa: PLR0911 (a list of rules)
    """Returns what is wrong with a volume under a scale, and the remedy; None if nothing is."""
    if look.low == look.high:
        return "is constant", "Remove the file."
    if intake.window or intake.family in ("other", "us"):
        return None
    if intake.family == "ct" or (not intake.family and look.is_ct):
        if intake.hu or look.modality == "CT" or look.low < -50:
            return None
        return (
            f"is CT without Hounsfield units: its minimum is {look.low:g}",
            "Convert it with its rescale values, or use --set hu=windowed for CT that is already windowed.",
        )
    if look.modality == "CT":
        return "says that it is CT, and the scale is that of MR", "Take CT apart, or prepare with --set modality=ct."
    floor = look.level or 0.0
    if floor < -RINGING * look.top and 0 < look.negative < FEW:
        return (
            f"has a background of {floor:g} and few other negative values: perhaps padding that was interpolated",
            "Set the background to 0 before resampling, or afterwards all that is negative.",
        )
    if look.low < floor - RINGING * (look.top - floor):
        return (
            f"holds values down to {look.low:g}, and magnitudes are not negative: perhaps z-scored or padded",
            "Save magnitudes with a background of 0, or say --set modality=ct for CT in HU, modality=other to scale "
            "all by one range.",
        )
    return None


def scale_volume(
    data: NDArray[np.float32], intake: Intake, modality: str = "", region: NDArray[np.bool_] | None = None
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Scales a volume to [-1, 1].

    Args:
        data: Values, slices along the last axis.
        intake: The scale.
        modality: Modality in the DICOM header.
        region: Body mask, if any.

    Returns:
        Intensities and body, same shape.

    Raises:
        DataError: If the values do not suit the scale.
    """
    look = look_at(data, modality)
    fault = fault_of(look, intake)
    if fault:
        raise DataError(f"the volume {fault[0]}", fault[1])
    ct = intake.family == "ct" or (not intake.family and look.is_ct)
    body = region if region is not None else _body(data, look, intake, ct)
    if not body.any():
        raise DataError("no body was found", "Give it with a roi column or --roi, or use --set body=frame.")
    if intake.window or ct:
        return window(data, *(intake.window or CT_WINDOW)), body
    if intake.family in ("us", "other"):
        return window(data, 0.0, intake.tops["float"]), body
    # Where the frame counts as body, the scale is still that of the tissue in it, as with pictures of one volume.
    tissue = found_body(data) if intake.body == "frame" and region is None else body
    return mr_scale(look.magnitudes(data), tissue if tissue.any() else body), body


def _body(data: NDArray[np.float32], look: Look, intake: Intake, ct: bool) -> NDArray[np.bool_]:
    if intake.body == "frame" or (intake.body == "" and intake.family in ("us", "other")):
        return np.ones(data.shape, dtype=bool)
    if ct and look.low < AIR:
        return fill_slices(largest_part(data > AIR))
    return found_body(data)


@dataclass(frozen=True)
class GroupScale:
    """The scale of the slices of one volume that are given as 2-D images.

    Attributes:
        level: The one value of their background; None if it is noise.
        threshold: Values above are tissue, if the background is noise.
        location: Robust location of the body above the background.
    """

    level: float | None
    threshold: float
    location: float


def group_scale(slices: Sequence[NDArray[np.float32]]) -> GroupScale:
    """Returns the scale of the slices of a volume, (h, w) each, possibly of several sizes.

    Raises:
        DataError: If they hold no signal, or negative values.
    """
    low = min(float(one.min()) for one in slices)
    if low < 0:
        raise DataError(
            f"the slices hold values down to {low:g}, and magnitudes are not negative", "Set the background to 0."
        )
    stack = slices if len({one.shape for one in slices}) > 1 else [np.stack(slices, -1)]
    levels = {background_level(part if part.ndim == 3 else part[..., None]) for part in stack}
    level = levels.pop() if len(levels) == 1 else None
    widest = max((part if part.ndim == 3 else part[..., None] for part in stack), key=lambda part: part.size)
    whole = GroupScale(level, tissue_level(widest), 1.0)
    inside = np.concatenate([one[body_of_slice(one, whole)] for one in slices])
    location = robust_location(inside - np.float32(level or 0.0)) if inside.size else 0.0
    if location <= 0:
        raise DataError("the slices hold no signal inside the body", "Check that they are magnitudes.")
    return GroupScale(level, whole.threshold, location)


def body_of_slice(data: NDArray[np.float32], scale: GroupScale) -> NDArray[np.bool_]:
    """Returns the body of a slice (h, w) by the threshold of its volume."""
    inside = data > scale.threshold if scale.level is None else data != np.float32(scale.level)
    return fill_slices(large_parts(inside)[..., None])[..., 0]


def scale_picture(
    pixels: NDArray[np.float32],
    bits: int,
    intake: Intake,
    group: GroupScale | None = None,
    region: NDArray[np.bool_] | None = None,
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Scales a 2-D image to [-1, 1].

    Args:
        pixels: Stored values, (c, h, w).
        bits: Bits of a stored value, 0 for floats.
        intake: The scale.
        group: The scale of its volume, if slices are scaled together.
        region: Body mask, (h, w), if any.

    Returns:
        Intensities (c, h, w) and body (h, w).

    Raises:
        DataError: If values lie outside the range of the store, or there is no body.
    """
    if group is not None:
        level = np.float32(group.level or 0.0)
        image = np.clip((pixels - level) * np.float32(1 / group.location) - 1, -1, 1).astype(np.float32)
        body = body_of_slice(pixels[0], group) if intake.body != "frame" else np.ones(pixels.shape[1:], dtype=bool)
        return image, body if region is None else region
    if intake.window or (intake.family == "ct" and not intake.hu):
        image = window(pixels, *(intake.window or CT_WINDOW))
    else:
        top = intake.tops[type_of(bits)]
        if pixels.min() < 0 or pixels.max() > top:
            raise DataError(
                f"values from {pixels.min():g} to {pixels.max():g} lie outside the range 0 to {top:g} of the store",
                "Save it like the training images.",
            )
        image = (pixels * np.float32(2 / top) - 1).astype(np.float32)
    if region is not None:
        return image, region
    body = found_body(pixels.mean(0)[..., None])[..., 0] if intake.finds_body else np.ones(pixels.shape[1:], dtype=bool)
    if not body.any():
        raise DataError("no body was found", "Use --set body=frame.")
    return image, body


def type_of(bits: int) -> str:
    """Returns the key of ``Intake.tops`` for images with this number of bits."""
    return "float" if bits == 0 else "8" if bits <= 8 else "16"


def squared(
    planes: NDArray[Any], spacing: tuple[float, float] | None, fill: float
) -> tuple[NDArray[Any], tuple[slice, slice]]:
    """Pads (..., h, w) to a square in millimetres; also returns the position of the planes in it.

    Args:
        planes: Planes to pad.
        spacing: Millimetres per pixel (row, column); None for square pixels.
        fill: Value outside.
    """
    high, wide = planes.shape[-2:]
    dy, dx = spacing or (1.0, 1.0)
    side = max(high * dy, wide * dx)
    rows, columns = max(round(side / dy), high), max(round(side / dx), wide)
    top, left = (rows - high) // 2, (columns - wide) // 2
    widths = [(0, 0)] * (planes.ndim - 2) + [(top, rows - high - top), (left, columns - wide - left)]
    return np.pad(planes, widths, constant_values=fill), (slice(top, top + high), slice(left, left + wide))
