"""The manifest of a store: its items and the fingerprint of the whole.

Layout of a store folder::

    manifest.json   StoreManifest: description of the data, one entry per item (slice or frame)
    image.bin       float16 intensities, nominally in [-1, 1], all items after one another, each (c, h, w)
    body.bin        uint8, 1 inside the body, each (h, w)
    mask.bin        uint8, 0 normal, 1 lesion, 255 ignore (e.g. acoustic shadow), each (h, w)

Items keep their native grid; they may differ in size.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from uadbench.core.dataset import Source
from uadbench.core.roles import Role
from uadbench.data.preprocessing.intake import Intake

IGNORE = 255
FORMAT = 2
UNHASHED = {"items", "fingerprint", "format", "organ_masks", "modality", "intake", "health_masks"}
"""Fields not hashed into the fingerprint: those of the store, and those unrelated to the pixels."""


class Item(BaseModel):
    """One image: a slice of a volume or a frame.

    Attributes:
        uid: Opaque identifier, unique in the store.
        case: The unit of scoring: the volume for MRI and CT, the frame for US and single images.
        patient: Opaque identifier of the patient, the unit of splitting and of statistics.
        index: Position of a slice in its case.
        role: The set that the patient is in.
        cohort: Where the patient comes from, e.g. "ixi".
        lesion: Whether the image is abnormal. Its mask then contains a lesion, or 255 everywhere if only the label
            is known.
        kind: Free label for strata, e.g. the plaque type; "" for plain healthy, "sham" for a sham insertion.
        spacing: Millimetres per pixel (row, column) on the native grid; None if unknown.
        thickness: Slice distance in mm; None for frames.
        shape: (channels, height, width).
        offset: Number of pixels (h*w) before this item in body.bin and mask.bin.
        sha256: Hash of image, body and mask bytes.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    uid: str
    case: str
    patient: str
    index: int = 0
    role: Role
    cohort: str
    lesion: bool
    kind: str = ""
    spacing: tuple[float, float] | None = None
    thickness: float | None = None
    shape: tuple[int, int, int]
    offset: int
    sha256: str


class StoreManifest(BaseModel):
    """Contents and origin of a store.

    Attributes:
        format: Version of this layout.
        dataset: Name of the dataset.
        version: Its version.
        source: Badge.
        recipe: How raw files were converted to images.
        polarity: Expected sign of the contrast of lesions, 0 if unknown.
        modality: Modality and organ, which select a method's published values: "mr-brain-flair", "ct-liver",
            "us-carotid"; without the organ if unknown ("mr-flair", "ct"); "" if unknown.
        ranked: False for data whose rows are never ranked.
        notes: Lines for the reader of a record.
        organ_masks: Whether an organ mask defined the body or the crop of the images. Applying a
            method to a new patient then requires that mask, as the ledger of each record states.
        intake: How new images are scaled, for stores of a user's images.
        health_masks: Number of lesion masks used to select the healthy slices of train and calib.
        items: The images.
        fingerprint: Hash of all but ``UNHASHED``, and of the items.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[2] = FORMAT
    dataset: str
    version: str
    source: Source
    recipe: str
    polarity: int = 0
    modality: str = ""
    ranked: bool = True
    notes: list[str] = Field(default_factory=list[str])
    organ_masks: bool = False
    intake: Intake | None = None
    health_masks: int = 0
    items: list[Item]
    fingerprint: str


def fingerprint(head: dict[str, Any], items: list[Item]) -> str:
    """Returns the SHA-256 over the dataset's head and every item, hashes of the pixels included."""
    text = json.dumps([head, [item.model_dump(mode="json") for item in items]], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
