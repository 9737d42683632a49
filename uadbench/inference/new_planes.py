"""New images and volumes as planes, scaled like the training data of a method."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uadbench.core.errors import DataError
from uadbench.data.preprocessing.incoming_scale import NewImage, normalise_new, shape_of
from uadbench.data.preprocessing.intake import FILLED, GroupScale, Intake, type_of
from uadbench.data.reading.incoming import Incoming, NewVolume, read_frame, read_new_volume, read_stored
from uadbench.data.reading.region import Regions
from uadbench.data.reading.volume import axial, slices_back, slices_last, slicing_axis


@dataclass(frozen=True)
class ScaleOfTraining:
    """How new images are scaled.

    Attributes:
        dataset: The dataset.
        recipe: Recipe of its store.
        intake: The scale of a store of a user's images; None if the dataset defines it.
        channels: Channels of its images.
    """

    dataset: Any
    recipe: str
    intake: Intake | None
    channels: int


@dataclass(frozen=True)
class NewPlanes:
    """An input as planes, scaled like the training data.

    Attributes:
        planes: Intensities in [-1, 1], (n, c, h, w).
        bodies: True inside the body, (n, h, w).
        kept: Indices of the slices.
        volume: Its grid; None for 2-D images.
        axis: Axis of the volume along which it was sliced.
        spacing: Millimetres per pixel (row, column) of a 2-D image, per voxel of a volume.
        notes: Corrections made.
    """

    planes: NDArray[np.float32]
    bodies: NDArray[np.bool_]
    kept: list[int]
    volume: NewVolume | None
    axis: int
    spacing: tuple[float, ...] | None
    notes: tuple[str, ...] = ()

    @property
    def pixel(self) -> tuple[float, float] | None:
        """Millimetres per pixel (row, column) of the planes; None if unknown."""
        if self.spacing is None or len(self.spacing) == 2:
            return None if self.spacing is None else (self.spacing[0], self.spacing[1])
        across, down = (self.spacing[k] for k in range(3) if k != self.axis)
        return down, across

    def stacked(self, planes: NDArray[Any], fill: Any) -> NDArray[Any]:
        """Returns planes as the volume in RAS order; omitted slices are filled with ``fill``."""
        assert self.volume is not None  # noqa: S101 (asked by the caller)
        whole = np.full(slices_last(self.volume.data, self.axis).shape, fill, dtype=planes.dtype)
        for plane, z in zip(planes, self.kept, strict=True):
            whole[..., z] = plane.T[::-1, ::-1]
        return slices_back(whole, self.axis)


def read_planes(
    scale: ScaleOfTraining,
    incoming: Incoming,
    regions: Regions,
    mask: Path | None = None,
    group: GroupScale | DataError | None = None,
) -> NewPlanes:
    """Reads an image or a volume and scales it like the training data.

    Args:
        scale: The scale.
        incoming: The input.
        regions: How masks of the region of interest are read.
        mask: Such a mask.
        group: The scale of its volume, or why there is none, if 2-D images are slices and scaled together.

    Raises:
        DataError: If it cannot be used.
    """
    if isinstance(group, DataError):
        if str(incoming.first) in group.message:
            raise group
        raise DataError(f"{incoming.first}: its volume has no scale: {group.message}", group.remedy)
    wanted, name = shape_of(scale.dataset), scale.dataset.name
    if mask is None and regions.roi is not None:
        raise regions.missing(incoming)
    if wanted == "volume" and incoming.shape == "frame":
        raise DataError(f"{incoming.first}: {name} is made of volumes.", "Give NIfTI or DICOM.")
    if wanted == "frame" and incoming.shape == "volume":
        raise DataError(f"{incoming.first}: {name} is made of frames.", "Give PNG or TIFF.")
    trained = scale.intake.shape if scale.intake else ""
    if trained and trained != incoming.shape:
        here, there = ("a volume", "pictures") if trained == "frame" else ("a picture", "volumes")
        raise DataError(
            f"{incoming.first} is {here}, the run was trained on {there}: they have no common scale.",
            f"Give {there}.",
        )
    if incoming.shape == "frame":
        return _frame(scale, incoming, regions, mask, group)
    volume = read_new_volume(incoming)
    region = None if mask is None else regions.of_volume(mask, incoming, volume)
    new = NewImage(volume.data, volume.spacing, volume.modality, region=region)
    image, body = normalise_new(scale.dataset, new, scale.recipe, scale.intake)
    axis = slicing_axis(volume.spacing, scale.intake.plane if scale.intake else "") if wanted == "any" else 2
    image, body = slices_last(image, axis), slices_last(body, axis)
    kept = [int(z) for z in np.flatnonzero(body.any(axis=(0, 1)))]
    planes = np.stack([axial(image, z) for z in kept])[:, None]
    bodies = np.ascontiguousarray(np.stack([axial(body, z) for z in kept]))
    planes = np.ascontiguousarray(np.repeat(planes, scale.channels, axis=1))
    return NewPlanes(planes, bodies, kept, volume, axis, volume.spacing, volume.notes)


def _frame(
    scale: ScaleOfTraining, incoming: Incoming, regions: Regions, mask: Path | None, group: GroupScale | None
) -> NewPlanes:
    stored = read_stored(incoming)
    region = None if mask is None else regions.of_frame(mask, stored.pixels)
    if scale.intake is not None and shape_of(scale.dataset) == "any":
        if stored.is_coloured and not scale.intake.colour:
            raise DataError(f"{incoming.first} is a colour image.", "Convert it to grey.")
        grey = scale.channels == 1
        pixels = stored.grey()[None] if grey else np.broadcast_to(stored.pixels, (3, *stored.pixels.shape[1:]))
        new = NewImage(np.asarray(pixels), bits=stored.bits, region=region, group=group)
    else:
        new = NewImage(read_frame(incoming, scale.channels), region=region)
    window = scale.intake is not None and (scale.intake.window is not None or group is not None)
    top = stored.top if scale.intake is None else scale.intake.tops[type_of(stored.bits)]
    dark = not window and float(stored.pixels.max()) < FILLED * top
    notes = (f"fills less than {FILLED:.0%} of the range 0 to {top:g} of its type and looks dark",) if dark else ()
    image, body = normalise_new(scale.dataset, new, scale.recipe, scale.intake)
    return NewPlanes(image[None], body[None], [0], None, 2, stored.spacing, notes)
