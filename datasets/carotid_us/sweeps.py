"""The sweep layout ``SWEEP/{img,vessel,plaque}/*.png``: real frames with vessel masks and plaque masks, if any.

The layout and the crop are those of Bi et al. 2025, whose own frames are not public. Frames are cropped to the vessel
at native resolution: a square of its bounding box times U(1.1, 1.5), its centre at U(0.46, 0.54), drawn by the frame's
name. Recipe ``paper`` uses the rectangle instead of the square and stretches it, as in the public code. A sweep
without ``plaque``, or with only empty masks, is healthy.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from uadbench.core.dataset import Dataset, Progress, Recipe
from uadbench.core.errors import DataError
from uadbench.core.roles import Role
from uadbench.core.seeding import numpy_generator
from uadbench.data.preprocessing.normalise import grey_scale
from uadbench.data.preprocessing.published_grid import PAPER_SIZE, published_image, published_mask
from uadbench.data.reading.folder import files, inside
from uadbench.data.reading.masks import read_mask
from uadbench.data.reading.raster import read_grey
from uadbench.data.simulation.draw import draw_roles
from uadbench.data.storage.store import StoreWriter
from uadbench.datasets.carotid_us.crop import Rectangle, Window

TABLE = "sweeps.csv"
FACTOR = (1.1, 1.5)
PAPER_LEAST = 2000
"""Minimum number of plaque pixels of an anomalous frame in recipe ``paper``."""
SPLIT = 1
HEALTHY = {Role.TRAIN: 0.7, Role.TEST: 0.15, Role.CALIB: 0.15}
PLAQUE = {Role.TEST: 0.7, Role.LABELLED: 0.2, Role.VAL: 0.1}
# The paper tests only on anomalous frames.
PAPER_HEALTHY = {Role.TRAIN: 0.85, Role.CALIB: 0.15}
UNNAMED = f"Each sweep counts as a patient; {TABLE} (columns sweep, patient) would say who has several: never ranked."
PAPER = (
    "Recipe 'paper': the vessel's rectangle stretched to 128 x 128, each frame from its own least to its greatest "
    f"value; of patients with plaque, the frames with {PAPER_LEAST} pixels of it or more alone, so false "
    "positives on healthy frames go unseen. Never ranked."
)
INCOMPLETE = "A role is empty: never ranked."


@dataclass(frozen=True)
class Frame:
    """A frame on disk.

    Attributes:
        uid: Sweep and file name.
        patient: Its patient.
        sick: Whether any frame of the patient shows plaque.
        role: The patient's role.
        image: Grey levels.
        vessel: The vessel's mask.
        plaque: The plaque's mask; None in a sweep without masks.
        recipe: Which frames are used.
    """

    uid: str
    patient: str
    sick: bool
    role: Role
    image: Path
    vessel: Path
    plaque: Path | None
    recipe: Recipe

    @property
    def files(self) -> list[Path]:
        """All files that are read."""
        return [path for path in (self.image, self.vessel, self.plaque) if path is not None]


@dataclass(frozen=True)
class Cropped:
    """A frame of the store: intensities in [-1, 1], the part of the window inside the frame, and plaque; all (h, w)."""

    image: NDArray[np.float32]
    body: NDArray[np.bool_]
    mask: NDArray[np.bool_]


def found_in(source: Path) -> bool:
    """Whether a folder has the layout."""
    return any(folder.is_dir() for folder in source.rglob("img"))


def prepare(source: Path, out: Path, recipe: Recipe, workers: int, progress: Progress, dataset: Dataset) -> str:
    """Writes the store and returns the layout found.

    Raises:
        DataError: Naming the first file that cannot be used.
    """
    sweeps = _sweeps(source)
    patient_of = _patients(source, list(sweeps))
    listed = _frames(source, sweeps, patient_of or {name: name for name in sweeps}, recipe)
    complete = {Role.TRAIN, Role.CALIB, Role.TEST} <= {frame.role for frame in listed}
    notes = {PAPER: recipe == "paper", UNNAMED: patient_of is None, INCOMPLETE: not complete}
    with StoreWriter.of(
        dataset,
        out,
        source="real",
        recipe=recipe,
        ranked=not any(notes.values()),
        organ_masks=True,
        notes=[note for note, applies in notes.items() if applies],
    ) as writer:
        for done, frame, cropped in writer.converted(convert, listed, workers):
            if cropped is not None:
                writer.add(
                    uid=frame.uid,
                    case=frame.uid,
                    patient=frame.patient,
                    role=frame.role,
                    cohort="sweeps",
                    image=cropped.image[None],
                    body=cropped.body,
                    mask=cropped.mask,
                    kind="plaque" if cropped.mask.any() else "plaque-patient" if frame.sick else "",
                )
            progress(done, len(listed), "reading frames")
        taken = len(writer.items)
    left = len(listed) - taken
    why = "the vessel is not in view" + (", or the recipe passes them over" if recipe == "paper" else "")
    return f"sweep layout, {taken} frames of {len(sweeps)} sweeps" + (f"; {left} left out ({why})" if left else "")


def convert(frame: Frame) -> Cropped | None:
    """Returns a frame cropped to its vessel; None if the vessel is not in view or the recipe excludes it.

    Raises:
        DataError: Naming the file that cannot be used.
    """
    image = read_grey(frame.image)
    vessel = read_mask(frame.vessel, image.shape)
    plaque = np.zeros_like(vessel) if frame.plaque is None else read_mask(frame.plaque, image.shape)
    if not vessel.any():
        if plaque.any():
            raise DataError(f"{frame.vessel} is empty, but the frame has plaque.", "Draw the vessel.")
        return None
    if frame.recipe == "paper" and frame.sick and plaque.sum() < PAPER_LEAST:
        return None
    rng = numpy_generator("sweep-crop", frame.uid)
    shape = Rectangle.around_vessel if frame.recipe == "paper" else Window.round_vessel
    window = shape(vessel, FACTOR, rng, str(frame.vessel))
    mask = window.cut(plaque)
    if mask.sum() < plaque.sum() / 2:
        raise DataError(f"{frame.plaque} is outside the vessel.", "Check that both masks are of that frame.")
    if frame.recipe == "paper":
        crop = window.cut(image)
        if crop.min() == crop.max():
            raise DataError(f"{frame.image} is constant around the vessel.", "Remove the frame.")
        return Cropped(published_image(crop), np.ones(PAPER_SIZE, bool), published_mask(mask))
    return Cropped(grey_scale(window.cut(image), 1.0), window.cut(np.ones_like(vessel)), mask)


def _sweeps(source: Path) -> dict[str, list[Path]]:
    """Returns the images of each sweep, by the sweep's path from the source.

    Raises:
        DataError: If there is none, or a mask has no image.
    """
    found: dict[str, list[Path]] = {}
    every = files(source, "*.png", "*.PNG")
    for path in every:
        if path.parent.name == "img" and path.parents[1] != source:
            found.setdefault(path.parents[1].relative_to(source).as_posix(), []).append(path)
    if not found:
        raise DataError(f"{source} has no PNG in its img folders.", "Expected SWEEP/{img,vessel,plaque}/*.png.")
    images = {image for sweep in found.values() for image in sweep}
    for path in every:
        if path.parent.name in ("vessel", "plaque") and path.parents[1] / "img" / path.name not in images:
            raise DataError(f"{path} has no image in {path.parents[1] / 'img'}.", "Add the image or remove the mask.")
    return found


def _frames(source: Path, sweeps: dict[str, list[Path]], patient_of: dict[str, str], recipe: Recipe) -> list[Frame]:
    sick = {patient_of[name] for name in sweeps if any(_plaques(source, name))}
    healthy_shares = PAPER_HEALTHY if recipe == "paper" else HEALTHY
    role_of = draw_roles(sick, PLAQUE, numpy_generator("sweep-split", SPLIT, "plaque"))
    role_of |= draw_roles({*patient_of.values()} - sick, healthy_shares, numpy_generator("sweep-split", SPLIT, "none"))
    found: list[Frame] = []
    for name, images in sweeps.items():
        for image in images:
            vessel = _partner(source, image, "vessel", "Draw the vessel; without it the frame cannot be cropped.")
            drawn = (source / name / "plaque").is_dir()
            remedy = "Save an empty mask if there is no plaque, or remove the frame."
            plaque = _partner(source, image, "plaque", remedy) if drawn else None
            uid = f"{name.replace('/', '-')}-{image.stem}"
            patient = patient_of[name]
            found.append(Frame(uid, patient, patient in sick, role_of[patient], image, vessel, plaque, recipe))
    return found


def _partner(source: Path, image: Path, folder: str, remedy: str) -> Path:
    path = inside(source, image.parents[1] / folder / image.name)
    if not path.is_file():
        raise DataError(f"{image} has no mask {folder}/{image.name}.", remedy)
    return path


def _plaques(source: Path, sweep: str) -> Iterator[bool]:
    """Yields whether each plaque mask in a sweep is non-empty."""
    for path in sorted((source / sweep / "plaque").glob("*.[pP][nN][gG]")):
        yield bool(read_mask(inside(source, path)).any())


def _patients(source: Path, sweeps: list[str]) -> dict[str, str] | None:
    """Returns the patient of each sweep from the table, None without a table.

    Raises:
        DataError: If the table cannot be read or lacks a sweep.
    """
    path = inside(source, source / TABLE)
    if not path.exists():
        return None
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read as a table.", "Save it as UTF-8 CSV with a header.") from error
    missing = [name for name in ("sweep", "patient") if name not in table.columns]
    if missing:
        raise DataError(f"{path} lacks the column '{missing[0]}'.", "It needs sweep, patient.")
    double = table["sweep"][table["sweep"].duplicated()]
    if len(double):
        raise DataError(f"{path} lists the sweep {double.iloc[0]} twice.", "List each sweep once.")
    patient_of = {
        str(sweep): str(patient).strip() for sweep, patient in zip(table["sweep"], table["patient"], strict=True)
    }
    unknown = [name for name in sweeps if not patient_of.get(name)]
    if unknown:
        raise DataError(f"{path} lists no patient for the sweep {unknown[0]}.", "Add it.")
    return {name: patient_of[name] for name in sweeps}
