"""The public layouts: BUS-UCLM, BUSI as unpacked, and BUS-BRA. Each gives frames, their roles and notes."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from uadbench.core.errors import DataError
from uadbench.core.roles import Role
from uadbench.core.seeding import numpy_generator
from uadbench.data.reading.folder import files, inside
from uadbench.data.reading.raster import read_channels
from uadbench.data.simulation.draw import draw_roles
from uadbench.datasets.breast_us.crop import UCLM_PART, WHOLE, Part, find_box, is_coloured
from uadbench.datasets.breast_us.duplicates import group_alike

SPLIT = Path(__file__).parent / "splits" / "v1.json"
EXPECTED = (
    "INFO.csv with images/ and masks/ (BUS-UCLM), benign/, malignant/ and normal/ (BUSI), or bus_data.csv (BUS-BRA)"
)
# The four frames of this code are byte-identical to frames of CHVI.
DROPPED = "CHCO"
UCLM_COLUMNS = ("Image", "Label", "Doppler", "Marks", "Combined")
BRA_COLUMNS = ("ID", "Case", "Pathology")
HEALTHY = {Role.TEST: 0.25, Role.CALIB: 0.15, Role.TRAIN: 0.6}
LESIONS = {Role.TEST: 0.7, Role.LABELLED: 0.2, Role.VAL: 0.1}


@dataclass(frozen=True)
class Frame:
    """A frame on disk.

    Attributes:
        uid: Its published name.
        patient: Its patient.
        role: The patient's role.
        image: Grey levels.
        masks: Masks of its lesions, if any.
        kind: "benign", "malignant", "lesion-patient" for a lesion-free frame of a patient with lesions, or "".
        part: The part without graphics.
    """

    uid: str
    patient: str
    role: Role
    image: Path
    masks: tuple[Path, ...]
    kind: str
    part: Part

    @property
    def files(self) -> list[Path]:
        """All files that are read."""
        return [self.image, *self.masks]


@dataclass(frozen=True)
class Layout:
    """The layout found.

    Attributes:
        cohort: Name of the public set.
        frames: Frames to use.
        left_out: Number of excluded frames by reason.
        ranked: Whether rows may be ranked.
        notes: Lines for the reader of a record.
    """

    cohort: str
    frames: list[Frame]
    left_out: Counter[str] = field(default_factory=Counter[str])
    ranked: bool = True
    notes: list[str] = field(default_factory=list[str])


def find(source: Path) -> Layout:
    """Recognises a layout, at the top of a folder or in one folder inside it.

    Raises:
        DataError: If none is recognised, or naming the first error.
    """
    known: list[tuple[str, Callable[[Path], Layout]]] = [
        ("INFO.csv", read_uclm),
        ("bus_data.csv", read_bra),
        ("benign", read_busi),
    ]
    for folder in (source, *sorted(path for path in source.iterdir() if path.is_dir())):
        for mark, read in known:
            if (folder / mark).exists():
                return read(folder)
    raise DataError(
        f"{source} is not a known layout of breast ultrasound.",
        f"Expected {EXPECTED}. How to get them: uadbench download breast_us.",
    )


def read_uclm(source: Path) -> Layout:
    """BUS-UCLM: the patient is the first four letters of a name, and INFO.csv lists what was drawn on a frame.

    Raises:
        DataError: Naming the first error.
    """
    role_of = {name: Role(role) for role, names in json.loads(SPLIT.read_text()).items() for name in names}
    table = _table(source / "INFO.csv", UCLM_COLUMNS, sep=";")
    left: Counter[str] = Counter()
    taken: list[dict[str, str]] = []
    sick: set[str] = set()
    for cells in table:
        patient = cells["Image"][:4]
        if cells["Label"] not in ("Normal", "Benign", "Malignant"):
            raise DataError(f"INFO.csv: {cells['Image']} has the label '{cells['Label']}'.", "Download it again.")
        if cells["Label"] != "Normal":
            sick.add(patient)
        if patient == DROPPED:
            left["copies of another patient's frames"] += 1
        elif cells["Doppler"] != "No":
            left["Doppler"] += 1
        elif cells["Marks"] != "No":
            left["drawn marks"] += 1
        elif cells["Combined"] != "No":
            left["two views in one"] += 1
        elif patient not in role_of:
            raise DataError(
                f"{cells['Image']}: {patient} is not in the committed split {SPLIT.name}.", "Use the published names."
            )
        elif cells["Label"] != "Normal" and role_of[patient] in (Role.TRAIN, Role.CALIB):
            left["lesion frames of patients of train and calib"] += 1
        else:
            taken.append({**cells, "patient": patient})
    frames = [
        Frame(
            uid=f"uclm-{Path(cells['Image']).stem}",
            patient=f"uclm-{cells['patient']}",
            role=role_of[cells["patient"]],
            image=_there(source, source / "images" / cells["Image"]),
            masks=() if cells["Label"] == "Normal" else (_there(source, source / "masks" / cells["Image"]),),
            kind=_kind(cells["Label"], cells["patient"] in sick),
            part=UCLM_PART,
        )
        for cells in taken
    ]
    return Layout(
        "bus-uclm",
        frames,
        left,
        notes=["A healthy frame is a frame without a lesion: most patients, in train and calib too, have a lesion."],
    )


def read_busi(source: Path) -> Layout:
    """BUSI: a folder per label, masks next to the images. Patients are unknown, so rows are never ranked.

    Raises:
        DataError: Naming the first error.
    """
    left: Counter[str] = Counter()
    listed: list[tuple[Path, tuple[Path, ...], str]] = []
    images: list[np.ndarray] = []
    for label in ("benign", "malignant", "normal"):
        for path in files(source / label, "*.png"):
            if "_mask" in path.stem:
                continue
            pixels = read_channels(path)
            if is_coloured(pixels):
                left["coloured"] += 1
                continue
            grey = pixels.mean(axis=2)
            images.append(find_box(grey, WHOLE, str(path)).cut(grey))
            drawn = sorted(path.parent.glob(f"{path.stem}_mask*.png"))
            if label != "normal" and not drawn:
                raise DataError(f"{path} has no mask {path.stem}_mask.png.", "Unzip the archive again.")
            listed.append((path, () if label == "normal" else tuple(inside(source, mask) for mask in drawn), label))
    group = group_alike(images)
    sick = {number for number, (_, masks, _) in zip(group, listed, strict=True) if masks}
    role_of = draw_roles([f"{n:04d}" for n in sick], LESIONS, numpy_generator("busi-split", 1, "lesions"))
    role_of |= draw_roles([f"{n:04d}" for n in {*group} - sick], HEALTHY, numpy_generator("busi-split", 1, "none"))
    frames = [
        Frame(
            uid=f"busi-{path.stem.replace(' ', '')}",
            patient=f"busi-{number:04d}",
            role=role_of[f"{number:04d}"],
            image=path,
            masks=masks,
            kind=_kind(label.capitalize(), number in sick),
            part=WHOLE,
        )
        for number, (path, masks, label) in zip(group, listed, strict=True)
    ]
    copies = len(frames) - len(set(group))
    return Layout(
        "busi",
        frames,
        left,
        ranked=False,
        notes=[
            "BUSI names no patients: an image with its near-copies counts as a patient, so that a patient with several "
            "images may be in two roles. Never ranked.",
            f"{copies} images are near-copies of others and share their role.",
            "BUSI says nothing of drawn marks: callipers and text inside the image remain.",
        ],
    )


def read_bra(source: Path) -> Layout:
    """BUS-BRA: every frame shows a lesion, so it is only a test set.

    Raises:
        DataError: Naming the first error.
    """
    frames = [
        Frame(
            uid=f"bra-{cells['ID'].removeprefix('bus_')}",
            patient=f"bra-{cells['Case']}",
            role=Role.TEST,
            image=_there(source, source / "Images" / f"{cells['ID']}.png"),
            masks=(_there(source, source / "Masks" / f"{cells['ID'].replace('bus_', 'mask_', 1)}.png"),),
            kind=cells["Pathology"].lower(),
            part=WHOLE,
        )
        for cells in _table(source / "bus_data.csv", BRA_COLUMNS, sep=",")
    ]
    return Layout(
        "bus-bra",
        frames,
        ranked=False,
        notes=[
            "BUS-BRA has no frame without a lesion: a test set for a method trained on another set, with no false "
            "positives on healthy frames. Never ranked.",
            "BUS-BRA says nothing of drawn marks: what is drawn inside the image remains.",
        ],
    )


def _kind(label: str, sick: bool) -> str:
    return label.lower() if label != "Normal" else "lesion-patient" if sick else ""


def _there(source: Path, path: Path) -> Path:
    if not inside(source, path).is_file():
        raise DataError(f"{path} is listed but missing.", "Download it again.")
    return path


def _table(path: Path, columns: tuple[str, ...], sep: str) -> list[dict[str, str]]:
    """Reads the columns of a published table.

    Raises:
        DataError: If it cannot be read, lacks a column, lists a frame twice, or is empty.
    """
    try:
        table = pd.read_csv(path, sep=sep, dtype=str, encoding="utf-8-sig", keep_default_na=False)
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read as a table.", "Download it again.") from error
    missing = [name for name in columns if name not in table.columns]
    if missing:
        raise DataError(f"{path} lacks the column '{missing[0]}'.", f"It needs {', '.join(columns)}.")
    double = table[columns[0]][table[columns[0]].duplicated()]
    if len(double) or table.empty:
        raise DataError(f"{path} " + (f"lists {double.iloc[0]} twice." if len(double) else "is empty."), "Repair it.")
    return [{name: str(cells[name]).strip() for name in columns} for cells in table.to_dict("records")]
