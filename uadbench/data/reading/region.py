"""The region of interest of new images: masks that are given, in a separate folder, or next to the images."""

from __future__ import annotations

import re
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from uadbench.core.errors import DataError
from uadbench.data.reading.folder import inside
from uadbench.data.reading.incoming import ANONYMISED, Incoming, NewVolume
from uadbench.data.reading.masks import read_mask
from uadbench.data.reading.nifti import Volume, read_binary, read_labels

VOLUMES = (".nii.gz", ".nii")
PICTURES = (".png", ".tif", ".tiff")

DRAWN = "Ground"
"""CHAOS's name for the folder of PNG masks, one per slice, next to that of the series."""


@dataclass(frozen=True)
class Regions:
    """The location of masks and their labels.

    Attributes:
        roi: A mask, or a folder of masks named like their images; None: next to the images.
        labels: Label values of the region; empty if masks contain 0 and one other value.
    """

    roi: Path | None = None
    labels: tuple[int, ...] = ()

    def find(self, found: Sequence[Incoming], organ: str) -> tuple[list[Incoming], dict[str, Path]]:
        """Returns the images without the masks among them, and the mask of each image that has one, by its name.

        A mask is named NAME_roi, NAME_mask, NAME_ORGAN or NAME_ORGAN_mask, in a separate folder also NAME. That
        of a DICOM series may be a folder of PNG images, one per slice: as in CHAOS, or given as ``roi``.

        Args:
            found: All images and volumes of the input.
            organ: The dataset's name of the region, e.g. "liver"; "" for datasets that need none: then masks next to
                images are images.

        Raises:
            DataError: If ``roi`` does not exist, or is one file for several images.
        """
        if self.roi is None:
            masks = {each.name: file for each in found if organ and (file := _beside(each, organ))}
        elif self.roi.is_dir():
            masks = {each.name: file for each in found if (file := _in_folder(each, self.roi, organ))}
            series = [each for each in found if each.is_series]
            if not masks and len(series) == 1 and any(self.roi.glob("*.png")):
                masks = {series[0].name: self.roi}
        elif not self.roi.is_file():
            raise DataError(f"{self.roi} does not exist.", "Check --roi.")
        else:
            images = [each for each in found if each.first.resolve() != self.roi.resolve()]
            if len(images) != 1:
                raise DataError(
                    f"{self.roi} is one mask for {len(images)} inputs.",
                    "Give --roi a folder of masks named like the inputs.",
                )
            masks = {images[0].name: self.roi}
        taken = {file.resolve() for file in masks.values()}
        images = [each for each in found if not taken & {each.first.resolve(), each.first.resolve().parent}]
        return images, {each.name: masks[each.name] for each in images if each.name in masks}

    def missing(self, incoming: Incoming) -> DataError:
        """Returns the error for an image without a mask, although masks were given."""
        end = _suffixes(incoming)[0]
        return DataError(
            f"{incoming.first} has no mask in {self.roi}.", f"Call it {incoming.name}{end} or {incoming.name}_roi{end}."
        )

    def of_volume(self, file: Path, incoming: Incoming, volume: NewVolume) -> NDArray[np.bool_]:
        """Returns the region of a volume, (x, y, z) in RAS order.

        Raises:
            DataError: If the mask cannot be read, lies on another grid, or holds none of the labels.
        """
        if file.is_dir():
            from uadbench.data.reading.dicom import read_drawn  # the extra needed to read the volume

            with _speaking_of_regions():
                return self._some(file, read_drawn(incoming.first.parent, incoming.files, file, self.labels))
        grid = Volume(incoming.first, volume.data, volume.affine, volume.spacing)
        try:
            region = np.isin(read_labels(file, grid), self.labels) if self.labels else read_binary(file, grid)
        except DataError as error:
            if "holds the labels" in error.message:
                raise DataError(error.message, "Select one with --roi-label.") from error
            raise
        return self._some(file, region)

    def of_frame(self, file: Path, frame: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Returns the region of a frame, (h, w).

        Raises:
            DataError: As ``of_volume``.
        """
        with _speaking_of_regions():
            return self._some(file, read_mask(file, frame.shape[-2:], self.labels))

    def _some(self, file: Path, region: NDArray[np.bool_]) -> NDArray[np.bool_]:
        if not region.any():
            wanted = f" (labels {list(self.labels)})" if self.labels else ""
            raise DataError(f"{file} marks no region{wanted}.", "Check the mask and --roi-label.")
        return region


@contextmanager
def _speaking_of_regions() -> Generator[None]:
    """Names the option of regions where the remedy for a mask names that of lesions."""
    try:
        yield
    except DataError as error:
        raise DataError(error.message, re.sub(r"--set lesion(=([\d,]+))?", _option, error.remedy)) from error


def _option(lesion: re.Match[str]) -> str:
    return " ".join(f"--roi-label {label}" for label in lesion[2].split(",")) if lesion[2] else "--roi-label"


def _ends(incoming: Incoming, organ: str) -> list[str]:
    names = ["_roi", "_mask", *([f"_{organ}", f"_{organ}_mask"] if organ else [])]
    return [f"{name}{suffix}" for name in names for suffix in _suffixes(incoming)]


def _suffixes(incoming: Incoming) -> tuple[str, ...]:
    return PICTURES if incoming.shape == "frame" else VOLUMES


def _beside(incoming: Incoming, organ: str) -> Path | None:
    """Finds the mask next to a file, or next to the folder of a DICOM series."""
    place = incoming.first.parent if incoming.is_series else incoming.first
    if place.name == ANONYMISED and place.with_name(DRAWN).is_dir():
        return place.with_name(DRAWN)
    stem = place.name if incoming.is_series else _stem(place.name)
    return next((file for end in _ends(incoming, organ) if (file := place.with_name(stem + end)).is_file()), None)


def _in_folder(incoming: Incoming, folder: Path, organ: str) -> Path | None:
    for end in [*_suffixes(incoming), *_ends(incoming, organ)]:
        file = folder / f"{incoming.name}{end}"
        if file.is_file() and file.resolve() != incoming.first.resolve():
            return inside(folder, file)
    return None


def _stem(name: str) -> str:
    suffix = next((end for end in (*VOLUMES, *PICTURES) if name.lower().endswith(end)), Path(name).suffix)
    return name.removesuffix(name[len(name) - len(suffix) :])
