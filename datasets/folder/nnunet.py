"""The layout of nnU-Net and of the Medical Segmentation Decathlon: imagesTr/, labelsTr/ and dataset.json."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from uadbench.core.errors import DataError
from uadbench.data.reading.folder import visible
from uadbench.data.reading.formats import stem_of
from uadbench.data.reading.incoming import discover
from uadbench.datasets.folder.partners import in_folder
from uadbench.datasets.folder.rows import Layout, Row

CHANNEL = re.compile(r"_(\d{4})$")


def read_nnunet(source: Path, folders: dict[str, Path]) -> Layout:
    """Reads the layout; of several channels the first is used and the others are counted.

    Raises:
        DataError: If dataset.json is damaged, or an image of imagesTr has no label.
    """
    about = _about(source)
    names = about.get("channel_names") or about.get("modality") or {}
    channels = {str(key): str(value) for key, value in names.items()} if isinstance(names, dict) else {}
    rows: list[Row] = []
    notes: list[str] = []
    for part, split in (("Tr", ""), ("Ts", "test")):
        folder, labels = folders.get(f"images{part.lower()}"), folders.get(f"labels{part.lower()}")
        if folder is None or (labels is None and part == "Ts"):
            continue
        found = discover(source, visible(folder))[0]
        first = [one for one in found if (CHANNEL.search(stem_of(one.place)) or ["", "0000"])[1] == "0000"]
        if len(first) < len(found):
            notes.append(f"{len(found) - len(first)} files of other channels than _0000 are not used.")
        masks = {stem_of(mask): mask for mask in (visible(labels) if labels else [])}
        pairs = in_folder(first, labels, visible(labels)) if labels else None
        for one in first:
            stem = CHANNEL.sub("", stem_of(one.place))
            mask = (masks[stem],) if stem in masks else pairs.of.get(one.name, ()) if pairs else ()
            lacks = "" if mask else f"mask {stem} in labels{part}"
            rows.append(Row(one, mask, split=split, lacks=lacks))
    if any(row.split for row in rows):
        rows = [replace(row, split=row.split or "train") for row in rows]
    modality = {"CT": "ct", "FLAIR": "mr-flair", "T1": "mr-t1", "T2": "mr-t2", "MRI": "mr", "T1GD": "mr-t1c"}
    first_channel = channels.get("0", "").upper()
    used = (source / "dataset.json",) if (source / "dataset.json").is_file() else ()
    return Layout("nnU-Net", rows, notes, used, modality.get(first_channel, ""), _labels(about))


def _about(source: Path) -> dict[str, Any]:
    path = source / "dataset.json"
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} is not JSON.", "Download it again.") from error
    return content if isinstance(content, dict) else {}


def _labels(about: dict[str, Any]) -> dict[str, int]:
    """Returns name to value, for either order in the file, without the background."""
    found: dict[str, int] = {}
    labels = about.get("labels")
    for key, value in labels.items() if isinstance(labels, dict) else ():
        name, number = (value, key) if str(key).isdigit() else (key, value)
        if str(number).isdigit() and int(number) > 0:
            found[str(name)] = int(number)
    return found
