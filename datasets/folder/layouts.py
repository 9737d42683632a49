"""Layouts of a folder: a table, MedIAnomaly's data.json, nnU-Net, trees of train and test, or folders of classes."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from uadbench.core.errors import DataError
from uadbench.data.reading.folder import MASKS, inside, is_hidden, visible
from uadbench.data.reading.incoming import Incoming, discover
from uadbench.datasets.folder.nnunet import read_nnunet
from uadbench.datasets.folder.partners import Pairs, beside, in_folder
from uadbench.datasets.folder.rows import Layout, Row
from uadbench.datasets.folder.table import find_table, read_table

HEALTHY = ("good", "normal", "healthy")
"""Folders of healthy images, in any case."""

IMAGES = ("images", "img")
"""Folders of images within the folder of a class; other folders in it are then not used."""

SPLITS = {"train": "train", "training": "train", "valid": "val", "val": "val", "validation": "val", "test": "test"}
KNOWN = (
    "metadata.csv, data.json, nnU-Net's dataset.json with imagesTr/ and labelsTr/, train/good with test/, "
    "normal/ and abnormal/ with masks/, normal/ next to other classes, or images/ with masks/"
)


def find(source: Path) -> Layout:
    """Returns the layout found.

    Raises:
        DataError: If nothing is recognised, or naming the error.
    """
    table, folders = find_table(source), _folders(source)
    if table is not None:
        return read_table(source, table)
    if (source / "data.json").is_file():
        return _data_json(source)
    _refuse_store(source)
    found = _by_folders(source, folders)
    if found is not None:
        return found
    if len(folders) == 1 and not any(path.is_file() and not is_hidden(source, path) for path in source.iterdir()):
        (inner,) = folders.values()  # archives unpack to one folder that holds the data
        found = find(inner)
        return replace(found, notes=[f"Read from {inner.name}/.", *found.notes])
    images, _ = discover(source, visible(source))
    what = f"{len(images)} images and nothing that says which are healthy" if images else "no image"
    raise DataError(
        f"{source} holds {what}: no known layout.",
        f"Expected {KNOWN}. Put healthy images into normal/, or list all in a metadata.csv.",
    )


def _refuse_store(source: Path) -> None:
    for path in visible(source):
        if path.name == "manifest.json" and path.with_name("image.bin").is_file():
            raise DataError(
                f"{path.parent} is a prepared store, not raw images.", "Move it out of --source, or remove it."
            )


def _by_folders(source: Path, folders: dict[str, Path]) -> Layout | None:
    if "imagestr" in folders:
        return read_nnunet(source, folders)
    if "train" in folders and any(name in _folders(folders["train"]) for name in HEALTHY):
        return _tree(source, folders)
    if any(name in folders for name in HEALTHY):
        return _classes(source, folders)
    if "images" in folders and any(name in folders for name in MASKS):
        return _images_and_masks(source, folders)
    return None


def images_in(source: Path, folder: Path) -> list[Incoming]:
    """Returns the images and volumes below a folder, with names relative to the source."""
    return discover(source, visible_below(source, folder))[0]


def visible_below(source: Path, folder: Path) -> list[Path]:
    """Returns the files below a folder, none if there is no such folder.

    Raises:
        DataError: If one is a link that leaves the source.
    """
    return [inside(source, path) for path in visible(folder)] if folder.is_dir() else []


def _folders(path: Path) -> dict[str, Path]:
    return {each.name.lower(): each for each in sorted(path.iterdir()) if each.is_dir() and not is_hidden(path, each)}


def _outside(images: list[Incoming], masks: Path | None) -> list[Incoming]:
    """Returns the images that are not below a folder of masks."""
    return images if masks is None else [one for one in images if not one.place.is_relative_to(masks)]


def _first(folders: dict[str, Path], names: Iterable[str]) -> Path | None:
    return next((folders[name] for name in names if name in folders), None)


def _classes(source: Path, folders: dict[str, Path]) -> Layout:
    """normal/ next to abnormal/ or any other classes; masks in masks/ or next to the images."""
    masks = _first(folders, MASKS)
    rows: list[Row] = []
    notes: list[str] = []
    # Masks of abnormal images are matched first, so that normal/0.png does not get the mask of abnormal/0.png.
    left = visible_below(source, masks) if masks is not None else []
    for name, folder in sorted(folders.items(), key=lambda one: one[0] in HEALTHY):
        if name in MASKS:
            continue
        healthy = name in HEALTHY
        parts = _folders(folder)
        own = _first(parts, MASKS)
        found, pairs = beside(_outside(images_in(source, _first(parts, IMAGES) or folder), own))
        if masks is not None:
            extra = in_folder(found, masks, left)
            left = list(extra.alone)
            pairs = Pairs({**extra.of, **pairs.of}, extra.alone)
        if own is not None:
            pairs = Pairs({**in_folder(found, own, visible_below(source, own)).of, **pairs.of}, pairs.alone)
        drawn = masks is not None or own is not None or bool(pairs.of)
        rows += [_labelled(one, pairs, "", healthy=healthy, drawn=drawn) for one in found]
    classes = [name for name in folders if name not in MASKS and name not in HEALTHY]
    if len(classes) > 1:
        notes.append(f"The folders {', '.join(classes)} count as abnormal.")
    return Layout(
        " and ".join(f"{folders[name].name}/" for name in (*HEALTHY, *classes) if name in folders), rows, notes
    )


def _images_and_masks(source: Path, folders: dict[str, Path]) -> Layout:
    masks = _first(folders, MASKS)
    assert masks is not None  # noqa: S101 (asked before)
    found = images_in(source, folders["images"])
    pairs = in_folder(found, masks, visible_below(source, masks))
    rows = [
        Row(one, pairs.of.get(one.name, ()), lacks="" if one.name in pairs.of else f"mask in {masks}") for one in found
    ]
    return Layout("images/ and masks/", rows, ["Images whose masks are black count as healthy."])


def _tree(source: Path, folders: dict[str, Path]) -> Layout:
    """train/ and test/, maybe valid/, with a folder per class: MVTec's ground_truth/, or BMAD's img/ and label/."""
    rows: list[Row] = []
    title = "MVTec-like tree"
    truth = folders.get("ground_truth")
    for name, split in SPLITS.items():
        kinds = _folders(folders[name]) if name in folders else {}
        shared = _first(kinds, MASKS)
        for kind, folder in kinds.items():
            if kind in MASKS:
                continue
            healthy, parts = kind in HEALTHY, _folders(folder)
            if "img" in parts:
                title = "BMAD's tree"
            masks = _first(parts, MASKS)
            found, pairs = beside(_outside(images_in(source, _first(parts, IMAGES) or folder), masks))
            if masks is None and truth is not None:
                masks = _folders(truth).get(kind) or (None if healthy else truth / folder.name)
            if masks is None and not healthy:
                masks = shared
            if masks is not None:
                pairs = Pairs({**in_folder(found, masks, visible_below(source, masks)).of, **pairs.of}, ())
            rows += [
                _labelled(one, pairs, split, healthy=healthy, drawn=masks is not None or bool(pairs.of))
                for one in found
            ]
    return Layout(title, rows)


def _labelled(one: Incoming, pairs: Pairs, split: str, *, healthy: bool, drawn: bool) -> Row:
    masks = pairs.of.get(one.name, ())
    lacks = "mask, which other abnormal images have" if not healthy and drawn and not masks else ""
    return Row(one, masks, split=split, abnormal=not healthy, lacks=lacks)


def _data_json(source: Path) -> Layout:
    path = inside(source, source / "data.json")
    try:
        content: Any = json.loads(path.read_text(encoding="utf-8-sig"))
        listed = [
            (str(split), str(label), str(name))
            for split in ("train", "test")
            for label, names in content[split].items()
            if label in ("0", "1")
            for name in names
        ]
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise DataError(
            f"{path} is not a data.json of MedIAnomaly.", "Expected train and test with 0 and 1."
        ) from error
    rows: list[Row] = []
    annotated = source / "test" / "annotation"
    for split, label, name in listed:
        places = ("images", "train", "test/normal", "test/tumor", "test/abnormal", ".")
        found = next((source / place / name for place in places if (source / place / name).is_file()), None)
        if found is None:
            raise DataError(f"{path} names {name}, which is not in {source}.", "Download it again.")
        image = discover(source, [found])[0]
        if not image:
            raise DataError(f"{path} names {name}, which is no image of a known format.", "Save it as PNG.")
        masks: tuple[Path, ...] = ()
        if label == "1" and annotated.is_dir():
            tried = [annotated / name.replace("flair", "seg"), annotated / name]
            masks = tuple(mask for mask in tried if mask.is_file())[:1]
        lacks = f"mask in {annotated}" if label == "1" and annotated.is_dir() and not masks else ""
        rows.append(Row(image[0], masks, split=split, abnormal=label == "1", lacks=lacks))
    return Layout("MedIAnomaly", rows, used=(path,))
