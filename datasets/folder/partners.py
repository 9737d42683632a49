"""Matching masks to images by names: several per image are merged, and the longest matching name wins."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from uadbench.data.reading.formats import stem_of
from uadbench.data.reading.incoming import Incoming

WORD = r"[ _.-]*(?:masks?|segs?|segmentations?|labels?|lesions?|gt|annotations?|annot)"
NUMBER = r"[ _.-]*\d*"
ENDS = re.compile(rf"(?:{WORD}{NUMBER}|[_.-]\d+)", re.IGNORECASE)
"""Suffixes of a mask's name beyond its image's: "_mask", "_mask_1", "_seg", "_1"."""

BESIDE = re.compile(rf"{WORD}{NUMBER}", re.IGNORECASE)
"""The same in the folder of the images, where "_1" is another image."""


@dataclass(frozen=True)
class Pairs:
    """Masks of images.

    Attributes:
        of: Masks by name of the image.
        alone: Masks that belong to no image.
    """

    of: dict[str, tuple[Path, ...]]
    alone: tuple[Path, ...]


def beside(images: Sequence[Incoming]) -> tuple[list[Incoming], Pairs]:
    """Separates images from masks in the same folder, as in BUSI."""
    places: defaultdict[Path, dict[str, Incoming]] = defaultdict(dict)
    for one in images:
        places[one.place.parent][stem_of(one.place)] = one
    owner: dict[str, str] = {}
    for stems in places.values():
        for stem, one in stems.items():
            match = re.search(rf"{WORD}{NUMBER}$", stem, re.IGNORECASE)
            starts = [other for other in stems if len(other) < len(stem) and stem.startswith(other)] if match else []
            fits = [other for other in starts if BESIDE.fullmatch(stem[len(other) :])]
            if fits:
                owner[one.name] = stems[max(fits, key=len)].name
    masks: defaultdict[str, list[Path]] = defaultdict(list)
    for one in images:
        if one.name in owner and owner[one.name] not in owner:
            masks[owner[one.name]].append(one.place)
    kept = [one for one in images if one.name not in owner]
    return kept, Pairs({name: tuple(sorted(files)) for name, files in masks.items()}, ())


def in_folder(images: Sequence[Incoming], folder: Path, masks: Iterable[Path]) -> Pairs:
    """Finds the masks of images in a separate folder.

    Args:
        images: The images.
        folder: The folder of the masks.
        masks: Files in it. A mask may also be in a folder named like its image.
    """
    stems: defaultdict[str, list[Incoming]] = defaultdict(list)
    for one in images:
        stems[stem_of(one.place)].append(one)
    found: defaultdict[str, list[Path]] = defaultdict(list)
    alone: list[Path] = []
    for mask in masks:
        parents = mask.relative_to(folder).parts[:-1]
        stem = _longest(stem_of(mask), stems) or next((part for part in parents[::-1] if part in stems), None)
        owners = stems.get(stem or "", [])
        if len(owners) > 1:
            near = [one for one in owners if one.place.parent.parts[-len(parents) :] == parents] if parents else []
            owners = near if len(near) == 1 else []
        if owners:
            found[owners[0].name].append(mask)
        else:
            alone.append(mask)
    return Pairs({name: tuple(sorted(files)) for name, files in found.items()}, tuple(alone))


def _longest(stem: str, stems: Iterable[str]) -> str | None:
    """Returns the longest image name that matches a mask's name."""
    fits = [one for one in stems if stem == one or (stem.startswith(one) and ENDS.fullmatch(stem[len(one) :]))]
    for prefix in ("mask_", "seg_", "gt_", "label_"):
        fits += [one for one in stems if stem.lower() == prefix + one.lower()]
    return max(fits, key=len, default=None)
