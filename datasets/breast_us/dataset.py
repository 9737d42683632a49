"""``breast_us``: real breast ultrasound as a Dataset; there is no phantom."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from uadbench.core.catalog import DATASETS
from uadbench.core.dataset import DatasetCard, Progress, Recipe
from uadbench.core.errors import DataError, UserError
from uadbench.data.preprocessing.normalise import grey_scale
from uadbench.data.reading.masks import read_mask
from uadbench.data.reading.raster import read_channels
from uadbench.data.storage.store import StoreWriter
from uadbench.datasets.breast_us.crop import find_box, is_coloured
from uadbench.datasets.breast_us.layouts import Frame, find


class Cropped(NamedTuple):
    """Intensities in [-1, 1] and lesions, both (h, w)."""

    image: NDArray[np.float32]
    mask: NDArray[np.bool_]


@DATASETS.register("breast_us")
class BreastUS:
    """Lesions in B-mode frames of the breast; a case is a frame."""

    name: ClassVar[str] = "breast_us"
    version: ClassVar[str] = "1"
    card: ClassVar[DatasetCard] = DatasetCard(
        title="Breast ultrasound, B-mode",
        modality="US",
        organ_modality="us-breast",
        licence="BUS-UCLM: CC BY-NC 4.0 (README: CC BY 4.0). BUS-BRA: CC BY 4.0. BUSI: not stated, cite its authors",
        access="uadbench download breast_us: BUS-UCLM 10.17632/7fvgj4jsp7; BUSI; BUS-BRA, 10.5281/zenodo.8231412",
        polarity=-1,
        patients={"bus-uclm": 36, "bus-bra": 1064},
    )

    def phantom_key(self) -> str:
        """Refuses: this dataset has only real images.

        Raises:
            UserError: Always.
        """
        raise UserError(
            "breast_us has no phantom: it has only real images.",
            "Get them with uadbench download breast_us, convert them with uadbench prepare breast_us --source DIR "
            "--out STORE, and specify the store with --source.",
        )

    def make_phantom(self, out: Path, progress: Progress, seed: int = 0) -> None:
        """Refuses, as ``phantom_key``.

        Raises:
            UserError: Always.
        """
        self.phantom_key()

    def prepare(self, source: Path, out: Path, recipe: Recipe, workers: int, progress: Progress) -> str:
        """Converts frames of a public dataset: cropped to the image, on the native grid, with one scale for all.

        Raises:
            DataError: If the layout is not recognised or a file cannot be used; nothing is left behind.
            UserError: If the recipe is not strict.
        """
        if recipe != "strict":
            raise UserError("breast_us supports only the recipe 'strict'.", "Remove --recipe.")
        layout = find(source)
        with StoreWriter.of(
            self,
            out,
            source="real",
            recipe=f"strict-{layout.cohort}",
            ranked=layout.ranked,
            notes=[
                *layout.notes,
                *(f"Left out: {count} frames ({why})." for why, count in sorted(layout.left_out.items())),
            ],
        ) as writer:
            for done, frame, cropped in writer.converted(convert, layout.frames, workers):
                if cropped is not None:
                    writer.add(
                        uid=frame.uid,
                        case=frame.uid,
                        patient=frame.patient,
                        role=frame.role,
                        cohort=layout.cohort,
                        image=cropped.image[None],
                        body=np.ones_like(cropped.mask),
                        mask=cropped.mask,
                        kind=frame.kind,
                    )
                progress(done, len(layout.frames), frame.uid)
            taken = len(writer.items)
        outside = len(layout.frames) - taken
        left = [f"{count} {why}" for why, count in sorted(layout.left_out.items())]
        left += [f"{outside} with a lesion outside the crop"] if outside else []
        return f"{layout.cohort}, {taken} frames" + (f"; left out: {', '.join(left)}" if left else "")


def convert(frame: Frame) -> Cropped | None:
    """Reads and crops a frame; None if its lesion is outside the crop.

    Raises:
        DataError: Naming the file that cannot be used.
    """
    pixels = read_channels(frame.image)
    grey = pixels.mean(axis=2)
    box = find_box(grey, frame.part, str(frame.image))
    if is_coloured(box.cut(pixels)):
        raise DataError(f"{frame.image} is coloured inside the image.", "Remove the frame: it shows Doppler or marks.")
    mask = np.zeros(grey.shape, bool)
    for path in frame.masks:
        mask |= read_mask(path, grey.shape)
    if frame.masks and not mask.any():
        raise DataError(f"{frame.masks[0]} is empty, but the frame is labelled {frame.kind}.", "Correct the label.")
    kept = box.cut(mask)
    if frame.masks and not kept.any():
        return None
    return Cropped(grey_scale(box.cut(grey), 1.0), kept)
