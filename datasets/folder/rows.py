"""What a folder lists: metadata.csv, MedIAnomaly's data.json, an MVTec-like tree, or normal/ and abnormal/."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from uadbench.core.errors import DataError
from uadbench.data.reading.folder import files, inside

COLUMNS = ("image", "mask", "roi", "patient", "slice", "split", "label")
PATTERNS = ("*.png", "*.tif", "*.tiff", "*.jpg", "*.bmp", "*.nii", "*.nii.gz", "*.dcm")
NORMAL, ABNORMAL = {"0", "normal", "healthy", "good", "false"}, {"1", "abnormal", "anomalous", "lesion", "true"}
KNOWN = "metadata.csv, data.json, train/good with test/, or normal/ and abnormal/ with masks/"


@dataclass(frozen=True, slots=True)
class Row:
    """One image or volume: files, patient, position in its case, split as written ("" if none), and label.

    An abnormal one without a mask has its label alone.
    """

    image: Path
    mask: Path | None
    roi: Path | None
    patient: str
    index: int
    split: str
    abnormal: bool

    @property
    def label_only(self) -> bool:
        """Whether the image is abnormal and nobody says where."""
        return self.abnormal and self.mask is None

    @property
    def files(self) -> list[Path]:
        """All that is read."""
        return [path for path in (self.image, self.mask, self.roi) if path is not None]


def find(source: Path) -> tuple[str, list[Row], list[str]]:
    """Returns the title of the layout, its rows and notes.

    Raises:
        DataError: If nothing is recognised, or naming the first thing that is wrong.
    """
    if (source / "metadata.csv").is_file():
        return _table(source)
    if (source / "data.json").is_file():
        return _data_json(source)
    if (source / "train" / "good").is_dir():
        return _tree(source)
    if (source / "normal").is_dir():
        return _two_folders(source)
    raise DataError(f"{source} holds no layout that folder knows.", f"Expected {KNOWN}.")


def _table(source: Path) -> tuple[str, list[Row], list[str]]:
    path = inside(source, source / "metadata.csv")
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read as a table.", "Save it as UTF-8 CSV with a header.") from error
    unknown = [name for name in table.columns if name not in COLUMNS]
    if "image" not in table.columns or unknown:
        wrong = f"has the unknown column '{unknown[0]}'" if unknown else "lacks the column 'image'"
        raise DataError(f"{path} {wrong}.", f"Columns: {', '.join(COLUMNS)}.")
    double = table["image"][table["image"].duplicated()]
    if len(double):
        raise DataError(f"{path} lists {double.iloc[0]} twice.", "List each image once.")
    notes = [] if "patient" in table.columns else ["No patients are named: each image counts as a patient."]
    rows: list[Row] = []
    for line, cells in enumerate(table.to_dict("records"), 2):
        get = {name: str(cells.get(name, "")).strip() for name in COLUMNS}
        if not get["image"]:
            raise DataError(f"{path}, line {line}: no image.", "Fill the cell or remove the line.")
        mask = inside(source, source / get["mask"]) if get["mask"] else None
        label = get["label"].lower()
        if label and label not in NORMAL | ABNORMAL:
            raise DataError(f"{path}, line {line}: label '{label}' is unknown.", "Write normal or abnormal.")
        if get["slice"] and not re.fullmatch(r"\d+", get["slice"]):
            raise DataError(f"{path}, line {line}: slice '{get['slice']}' is no number.", "Count slices from 0.")
        if "patient" in table.columns and not get["patient"]:
            raise DataError(f"{path}, line {line}: no patient.", "Fill the cell.")
        rows.append(
            Row(
                inside(source, source / get["image"]),
                mask,
                inside(source, source / get["roi"]) if get["roi"] else None,
                get["patient"] or get["image"],
                int(get["slice"] or -1),
                get["split"].lower(),
                label in ABNORMAL if label else mask is not None,
            )
        )
    taken: dict[tuple[str, int], Row] = {}
    for row in rows:
        other = taken.setdefault((row.patient, row.index), row)
        if row.index >= 0 and other is not row:
            raise DataError(f"{row.image} and {other.image} are the same slice of a patient.", "Number them anew.")
    return "metadata.csv", rows, notes


def _two_folders(source: Path) -> tuple[str, list[Row], list[str]]:
    rows = [_plain(path, None, "", False) for path in images(source, source / "normal")]
    for path in images(source, source / "abnormal"):
        mask = _partner(source, source / "masks", path)
        rows.append(_plain(path, mask, "", True))
    return "normal/ and abnormal/", rows, ["No patients are named: each image or volume counts as a patient."]


def _tree(source: Path) -> tuple[str, list[Row], list[str]]:
    rows = [_plain(path, None, "train", False) for path in images(source, source / "train" / "good")]
    for kind in sorted(path for path in (source / "test").glob("*") if path.is_dir()):
        for path in images(source, kind):
            good = kind.name == "good"
            mask = None if good else _partner(source, source / "ground_truth" / kind.name, path)
            rows.append(_plain(path, mask, "test", not good))
    return "MVTec-like tree", rows, ["No patients are named: each image counts as a patient."]


def _data_json(source: Path) -> tuple[str, list[Row], list[str]]:
    path = inside(source, source / "data.json")
    try:
        content: Any = json.loads(path.read_text())
        listed = [
            (str(split), str(label), str(name))
            for split in ("train", "test")
            for label, names in content[split].items()
            if label in ("0", "1")
            for name in names
        ]
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise DataError(f"{path} is no data.json of MedIAnomaly.", "Expected train and test with 0 and 1.") from error
    rows: list[Row] = []
    for split, label, name in listed:
        places = ("images", "train", "test/normal", "test/tumor", "test/abnormal", ".")
        found = next((source / place / name for place in places if (source / place / name).is_file()), None)
        if found is None:
            raise DataError(f"{path} names {name}, which is not in {source}.", "Download it again.")
        mask = None
        if label == "1":
            mask = _partner(source, source / "test" / "annotation", found, name.replace("flair", "seg"))
        rows.append(_plain(inside(source, found), mask, split, label == "1"))
    return "MedIAnomaly", rows, ["No patients are named: each image counts as a patient."]


def images(source: Path, folder: Path) -> list[Path]:
    """Returns the images of a folder; a folder of DICOM files is one image."""
    found: dict[Path, None] = {}
    for path in files(folder, *PATTERNS) if folder.is_dir() else []:
        found[inside(source, path.parent if path.suffix == ".dcm" else path)] = None
    return list(found)


def _plain(image: Path, mask: Path | None, split: str, abnormal: bool) -> Row:
    return Row(image, mask, None, str(image), -1, split, abnormal)


def _partner(source: Path, folder: Path, image: Path, *names: str) -> Path | None:
    """Finds the mask of an abnormal image; None where there are no masks at all: then the label is all there is."""
    if not folder.is_dir():
        return None
    stem = image.name.split(".")[0]
    tried = [*names, image.name, *(f"{stem}{end}" for end in ("_mask.png", ".png", ".nii.gz", ".nii"))]
    for name in tried:
        if (folder / name).is_file():
            return inside(source, folder / name)
    raise DataError(f"{image} is abnormal but has no mask {image.name} in {folder}.", "Add the mask, or remove it.")
