"""The Momot layout: real healthy images with vessel masks; the test set gets plaques inserted along the wall.

Frames are cropped to the vessel (its bounding box times a factor, centre jittered; Bi et al. 2025, section 4 of their
method) at native resolution. It has no abnormal images, so the source badge is semi-synthetic.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from uadbench.core.dataset import Progress
from uadbench.core.errors import DataError
from uadbench.core.roles import Role
from uadbench.core.seeding import numpy_generator
from uadbench.data.preprocessing.normalise import grey_scale
from uadbench.data.storage.store import StoreWriter
from uadbench.datasets.carotid_us.crop import Window
from uadbench.datasets.carotid_us.insertion import insert_plaque

if TYPE_CHECKING:
    from uadbench.datasets.carotid_us.dataset import CarotidUS

COLUMNS = ("image", "artery_mask", "acquisition", "frame")
SPLIT = Path(__file__).parent / "splits" / "momot-v1.json"
# The paper crops to the vessel's box times U(1.1, 1.5); here the mask is only the lumen, so the wall, 1.5 mm on
# either side of a 6 mm lumen, requires half as much again.
FACTOR = (1.6, 2.2)
FATES = ("plaque", "sham", "plaque", "untouched")


@dataclass(frozen=True)
class Frame:
    """A frame in the table.

    Attributes:
        source: Folder of the table.
        image: Its file, relative to that folder.
        vessel: The file with its lumen, relative to that folder.
        acquisition: Name of its sweep.
        uid: Opaque identifier.
        fate: Its use, one of ``FATES``.
    """

    source: Path
    image: str
    vessel: str
    acquisition: str
    uid: str
    fate: str

    @property
    def files(self) -> list[Path]:
        """All files that are read."""
        return [self.source / self.image, self.source / self.vessel]


def prepare(source: Path, out: Path, workers: int, progress: Progress, dataset: CarotidUS) -> str:
    """Writes the store and returns the layout found.

    Raises:
        DataError: Naming the first file that cannot be used.
    """
    group_of = patient_groups()
    listed = list_frames(source)
    with StoreWriter.of(
        dataset,
        out,
        source="semi-synthetic",
        recipe="strict-momot-v2",
        ranked=False,
        organ_masks=True,
        notes=[
            "Real healthy backgrounds with inserted plaques: a method may detect the insertion.",
            "Three groups of neighbouring acquisitions stand for patients: too few for intervals or a ranking.",
        ],
    ) as writer:
        for done, frame, (image, mask, kind) in writer.converted(convert, listed, workers):
            role, group = group_of[frame.acquisition]
            writer.add(
                uid=frame.uid,
                case=frame.uid,
                patient=f"momot-{role}-{group}",
                role=role,
                cohort="momot",
                image=grey_scale(image)[None],
                body=np.ones_like(mask),
                mask=mask,
                kind=kind,
            )
            progress(done, len(listed), "reading frames")
    return f"Momot layout, {len(listed)} frames of {len({frame.acquisition for frame in listed})} acquisitions"


def list_frames(source: Path) -> list[Frame]:
    """Returns the frames of a folder in the order of its table.

    Half of the test frames get a plaque; half of the healthy ones a sham insertion of zero contrast.

    Raises:
        DataError: If the table cannot be used.
    """
    group_of, fates = patient_groups(), cycle(FATES)
    found: list[Frame] = []
    for cells in _table(source).to_dict("records"):
        acquisition = str(cells["acquisition"])
        if acquisition not in group_of:
            raise DataError(
                f"Acquisition {acquisition} is not in the committed split {SPLIT.name}.", "Use the original file names."
            )
        fate = next(fates) if group_of[acquisition][0] == Role.TEST else "untouched"
        uid = f"momot-{acquisition[-7:-3]}-{cells['frame']}"
        found.append(Frame(source, str(cells["image"]), str(cells["artery_mask"]), acquisition, uid, fate))
    return found


def read(frame: Frame) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Returns a frame as stored: grey levels 0..255, and True inside the lumen, both (h, w).

    Raises:
        DataError: Naming the file that cannot be used.
    """
    image = _read(frame.source, frame.image)
    vessel = _read(frame.source, frame.vessel) > 0
    if vessel.shape != image.shape:
        raise DataError(f"{frame.vessel}: mask {vessel.shape} does not match image {image.shape}.")
    if not vessel.any():
        raise DataError(f"{frame.vessel}: the vessel mask is empty.", "Remove the frame.")
    if image.min() == image.max():
        raise DataError(f"{frame.image}: the image is constant.", "Remove the frame.")
    return image, vessel


def convert(frame: Frame) -> tuple[NDArray[np.uint8], NDArray[np.uint8], str]:
    """Returns a frame cropped and with its insertion, the mask of that, and its kind.

    Raises:
        DataError: Naming the file that cannot be used.
    """
    image, vessel = crop(*read(frame), frame.uid)
    if frame.fate == "untouched":
        return image, np.zeros(image.shape, np.uint8), ""
    return insert_plaque(image, vessel, numpy_generator("momot-plaque", frame.uid), sham=frame.fate == "sham")


def patient_groups() -> dict[str, tuple[Role, int]]:
    """Returns role and group of each acquisition: neighbours may be one person and stay in one group."""
    groups: dict[str, list[str]] = json.loads(SPLIT.read_text())
    return {
        acquisition: (Role(role), group)
        for role, names in groups.items()
        for group, name in enumerate(names)
        for acquisition in name.split("+")
    }


def crop(image: NDArray[np.uint8], vessel: NDArray[np.bool_], uid: str) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Crops a square around the vessel, jittered by the frame's uid; outside the image it is black."""
    window = Window.round_vessel(vessel, FACTOR, numpy_generator("momot-crop", uid), uid)
    return window.cut(image), window.cut(vessel)


def _table(source: Path) -> pd.DataFrame:
    try:
        table = pd.read_csv(source / "metadata.csv", dtype=str)
    except (OSError, ValueError) as error:
        raise DataError(f"{source / 'metadata.csv'} cannot be read: {error}.", "Download it again.") from error
    missing = [name for name in COLUMNS if name not in table.columns]
    if missing:
        raise DataError(f"metadata.csv lacks the column '{missing[0]}'.", f"It needs {', '.join(COLUMNS)}.")
    if table.empty or table[list(COLUMNS)].isna().any().any():
        raise DataError("metadata.csv is empty or has empty cells.", "Download it again.")
    return table


def _read(source: Path, name: str) -> NDArray[np.uint8]:
    """Reads an 8-bit grey image that lies inside the source folder."""
    file = (source / name).resolve()
    if not file.is_relative_to(source.resolve()):
        raise DataError(f"{name} in metadata.csv leaves the source folder.", "Use paths inside it.")
    try:
        with Image.open(file) as image:
            return np.asarray(image.convert("L"), dtype=np.uint8)
    except FileNotFoundError as error:
        raise DataError(f"{name} is in metadata.csv but not in {source}.", "Download it again.") from error
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"{name} is truncated or not an image.", "Download it again.") from error
