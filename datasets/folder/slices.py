"""From a row to slices: 2-D images unchanged, volumes slice by slice in the plane of acquisition."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from uadbench.core.errors import DataError
from uadbench.data.preprocessing.intake import GroupScale, Intake, scale_picture, scale_volume, squared
from uadbench.data.reading.formats import VOLUME_KINDS, format_of
from uadbench.data.reading.incoming import read_any_volume, read_stored
from uadbench.data.reading.masks import read_drawn_mask, read_mask
from uadbench.data.reading.nifti import read_binary, read_binary_labels
from uadbench.data.reading.volume import Volume, axial, slices_last, slicing_axis
from uadbench.datasets.folder.rows import Row

HALF = 0.5
"""Share of an image beyond which what a mask marks is hardly a lesion."""


@dataclass(frozen=True, slots=True)
class Slice:
    """Image in [-1, 1] (c, h, w), body and mask (h, w); spacing and slice distance in mm where known."""

    index: int
    image: NDArray[np.float32]
    body: NDArray[np.bool_]
    mask: NDArray[np.bool_]
    spacing: tuple[float, float] | None = None
    thickness: float | None = None


@dataclass(frozen=True, slots=True)
class Converted:
    """The slices of a row.

    Attributes:
        slices: The selected slices.
        left_out: Slices with or near a lesion, excluded from a healthy role.
        blank: Number of slices without body.
    """

    slices: list[Slice]
    left_out: int = 0
    blank: int = 0


@dataclass(frozen=True, slots=True)
class Conversion:
    """A row to convert.

    Attributes:
        row: The row.
        intake: The scale of the store.
        labels: Values of masks that are lesions; empty for binary masks.
        group: Scale of the volume to which a 2-D slice belongs.
        gap: Slices to omit around each lesion; None keeps all.
    """

    row: Row
    intake: Intake
    labels: tuple[int, ...] = ()
    group: GroupScale | None = None
    gap: int | None = None

    @property
    def files(self) -> Sequence[Path]:
        """All files that are read."""
        return self.row.files


def convert(job: Conversion) -> Converted:
    """Reads a row.

    Raises:
        DataError: Naming the file that cannot be used.
    """
    try:
        return _volume(job) if job.row.image.shape == "volume" else _picture(job)
    except DataError as error:
        if job.row.place.name in error.message or str(job.row.place.parent) in error.message:
            raise
        raise DataError(f"{job.row.place}: {error.message}.", error.remedy) from error


def read_whole(row: Row) -> Volume:
    """Reads the volume of a row."""
    volume = read_any_volume(row.image)
    if volume.data.min() == volume.data.max():
        raise DataError(f"{row.place} is constant.", "Remove the file.")
    return volume


def marked_in_volume(row: Row, volume: Volume, labels: tuple[int, ...]) -> NDArray[np.bool_]:
    """Returns the lesions of a volume, (x, y, z): its masks merged."""
    marked = np.zeros(volume.data.shape, dtype=bool)
    for mask in row.masks:
        marked |= read_binary_labels(mask, volume, labels)
    return marked


def marked_in_picture(
    row: Row, shape: tuple[int, ...], labels: tuple[int, ...]
) -> tuple[NDArray[np.bool_], tuple[str, ...]]:
    """Returns the lesions of a 2-D image, (h, w): its masks merged, and assumptions.

    Raises:
        DataError: If a mask cannot be used, or covers the whole image.
    """
    marked, notes = np.zeros(shape, dtype=bool), set[str]()
    for file in row.masks:
        found = format_of(file)
        if found is not None and found.kind in VOLUME_KINDS:
            raise DataError(
                f"{file} is a volume, but its image {row.place.name} is a 2-D image.", "Give a 2-D image as mask."
            )
        drawn = read_drawn_mask(file, tuple(shape), labels)
        marked |= drawn.inside
        notes |= {drawn.note} - {""}
    if marked.all():
        raise DataError(f"{row.masks[0]} marks all of {row.place.name}.", "Check the mask.")
    if marked.mean() > HALF:
        notes.add("masks mark more than half of their image: check that lesions are drawn and not the rest")
    return marked, tuple(sorted(notes))


def _picture(job: Conversion) -> Converted:
    row, intake = job.row, job.intake
    frame = read_stored(row.image)
    shape = frame.pixels.shape[1:]
    mask, _ = marked_in_picture(row, shape, job.labels)
    if job.gap is not None and mask.any():
        return Converted([], left_out=1)
    if intake.colour == "rgb":
        pixels = np.ascontiguousarray(np.broadcast_to(frame.pixels, (3, *shape)))
    else:
        pixels = frame.grey()[None]
    region = None if row.roi is None else read_mask(row.roi, shape)
    if region is not None and not region.any():
        raise DataError(f"{row.roi} leaves no body.", "Check the region of interest.")
    image, body = scale_picture(pixels, frame.bits, intake, job.group, region)
    if not body.any():
        return Converted([], blank=1)
    one = Slice(max(row.index, 0), image, body, mask, frame.spacing)
    return Converted([_framed(one, intake)])


def _volume(job: Conversion) -> Converted:
    row, intake = job.row, job.intake
    volume = read_whole(row)
    mask = marked_in_volume(row, volume, job.labels)
    region = None if row.roi is None else read_binary(row.roi, volume)
    if region is not None and not region.any():
        raise DataError(f"{row.roi} leaves no body.", "Check the region of interest.")
    axis = slicing_axis(volume.spacing, intake.plane)
    data, mask = slices_last(volume.data, axis), slices_last(mask, axis)
    scaled, body = scale_volume(data, intake, volume.modality, None if region is None else slices_last(region, axis))
    across, down, thickness = (volume.spacing[n] for n in (*[k for k in range(3) if k != axis], axis))
    marked = mask.any((0, 1))
    near = marked if not job.gap else np.convolve(marked, np.ones(2 * job.gap + 1), "same") > 0
    filled = body.any((0, 1))
    kept = filled & ~near if job.gap is not None else filled
    return Converted(
        [
            _framed(Slice(z, axial(scaled, z)[None], axial(body, z), axial(mask, z), (down, across), thickness), intake)
            for z in map(int, np.flatnonzero(kept))
        ],
        left_out=int((filled & ~kept).sum()),
        blank=int((~filled).sum()),
    )


def _framed(one: Slice, intake: Intake) -> Slice:
    """Pads a slice to a square if the aspect ratio is kept."""
    if not intake.keep_aspect:
        return one
    image, body, mask = (
        squared(array, one.spacing, fill)[0] for array, fill in ((one.image, -1), (one.body, 0), (one.mask, 0))
    )
    return Slice(one.index, image, body, mask, one.spacing, one.thickness)
