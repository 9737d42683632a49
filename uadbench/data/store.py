"""The store: memory-mapped arrays plus a JSON manifest, written atomically.

Layout of a store folder::

    manifest.json   StoreManifest: what the data are, one entry an item (slice or frame)
    image.bin       float16 intensities, nominally in [-1, 1], all items after one another, each (c, h, w)
    body.bin        uint8, 1 inside the body, each (h, w)
    mask.bin        uint8, 0 normal, 1 lesion, 255 ignore (e.g. acoustic shadow), each (h, w)

Items keep their native grid; they may differ in size.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from uadbench.core.dataset import Source
from uadbench.core.errors import DataError
from uadbench.core.roles import Role

IGNORE = 255
FORMAT = 1


class Item(BaseModel):
    """One image: a slice of a volume or a frame.

    Attributes:
        uid: Opaque identifier, unique in the store.
        case: The unit of scoring: the volume for MRI and CT, the frame for US and single images.
        patient: Opaque identifier of the patient, the unit of splitting and of statistics.
        index: Position of a slice in its case.
        role: The set that the patient is in.
        cohort: Where the patient comes from, e.g. "ixi".
        lesion: Whether the mask holds a lesion.
        kind: Free label for strata, e.g. the plaque type; "" for plain healthy, "sham" for a sham insertion.
        spacing: Millimetres a pixel (row, column) on the native grid; None if unknown.
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
    """What a store holds and how it was made."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = FORMAT
    dataset: str
    version: str
    source: Source
    recipe: str
    polarity: int = 0
    ranked: bool = True
    notes: list[str] = Field(default_factory=list[str])
    items: list[Item]
    fingerprint: str


class StoreWriter:
    """Writes a store into a temporary sibling folder and renames it when all is there.

    Use as a context manager; on any exception nothing is left behind.

    Args:
        out: Folder to make.
        dataset: Dataset name.
        version: Dataset version.
        source: Source badge.
        recipe: Recipe, e.g. "strict" or "phantom".
        polarity: Expected sign of lesion contrast.
        ranked: False for data that must never be ranked (say why in notes).
        notes: Lines for the reader of the record.
    """

    def __init__(
        self,
        out: Path,
        *,
        dataset: str,
        version: str,
        source: Source,
        recipe: str,
        polarity: int = 0,
        ranked: bool = True,
        notes: list[str] | None = None,
    ) -> None:
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise DataError(f"{out} exists and is not empty.", "Choose another --out or remove it.")
        self._out = out
        self._tmp = out.with_name(f".{out.name}.{os.getpid()}.tmp")
        self._head: dict[str, Any] = {
            "dataset": dataset,
            "version": version,
            "source": source,
            "recipe": recipe,
            "polarity": polarity,
            "ranked": ranked,
            "notes": notes or [],
        }
        self._items: list[Item] = []
        self._uids: set[str] = set()
        self._roles: dict[str, Role] = {}
        self._offset = 0
        self._files: dict[str, IO[bytes]] = {}

    def __enter__(self) -> StoreWriter:
        try:
            self._tmp.mkdir(parents=True)
            self._files = {name: (self._tmp / f"{name}.bin").open("wb") for name in ("image", "body", "mask")}
        except OSError as error:
            raise DataError(
                f"Cannot write to {self._out.parent}: {error.strerror}.", "Choose another --out."
            ) from error
        return self

    def add(
        self,
        *,
        uid: str,
        case: str,
        patient: str,
        role: Role,
        cohort: str,
        image: NDArray[Any],
        body: NDArray[Any],
        mask: NDArray[Any],
        index: int = 0,
        kind: str = "",
        spacing: tuple[float, float] | None = None,
        thickness: float | None = None,
    ) -> None:
        """Adds one item.

        Args:
            uid: Unique identifier.
            case: Case of the item.
            patient: Patient of the item.
            role: Role of the patient.
            cohort: Cohort of the patient.
            image: Intensities, (c, h, w), finite.
            body: True inside the body, (h, w).
            mask: 0 normal, 1 lesion, 255 ignore, (h, w).
            index: Position in the case.
            kind: Stratum.
            spacing: Millimetres a pixel (row, column).
            thickness: Slice distance in mm.

        Raises:
            DataError: If shapes, values or roles are wrong.
        """
        pixels = np.ascontiguousarray(image, dtype="<f2")
        inside = np.ascontiguousarray(body, dtype=np.uint8)
        truth = np.ascontiguousarray(mask, dtype=np.uint8)
        if pixels.ndim != 3 or inside.shape != pixels.shape[1:] or truth.shape != inside.shape:
            raise DataError(f"{uid}: image {pixels.shape}, body {inside.shape} and mask {truth.shape} do not fit.")
        if not np.isfinite(pixels).all():
            raise DataError(f"{uid}: the image holds NaN or infinite values.", "Repair or remove the file.")
        if not np.isin(truth, (0, 1, IGNORE)).all():
            raise DataError(f"{uid}: the mask holds values other than 0, 1 and 255.", "Binarise it.")
        if not inside.any():
            raise DataError(f"{uid}: the body mask is empty.", "Check the image or its region of interest.")
        if uid in self._uids:
            raise DataError(f"Two items have the uid {uid}.", "Make uids unique.")
        if self._roles.setdefault(patient, role) != role:
            raise DataError(
                f"Patient {patient} is in roles {self._roles[patient]} and {role}.", "Split by patient, not by image."
            )
        lesion = bool((truth == 1).any())
        if lesion and role in (Role.TRAIN, Role.CALIB):
            raise DataError(f"{uid}: role {role} is healthy only, but the mask holds a lesion.")
        digest = hashlib.sha256()
        for name, array in (("image", pixels), ("body", inside), ("mask", truth)):
            data = array.tobytes()
            digest.update(data)
            self._files[name].write(data)
        self._uids.add(uid)
        self._items.append(
            Item(
                uid=uid,
                case=case,
                patient=patient,
                index=index,
                role=role,
                cohort=cohort,
                lesion=lesion,
                kind=kind,
                spacing=spacing,
                thickness=thickness,
                shape=(pixels.shape[0], pixels.shape[1], pixels.shape[2]),
                offset=self._offset,
                sha256=digest.hexdigest(),
            )
        )
        self._offset += inside.size

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for file in self._files.values():
            file.close()
        try:
            if kind is None:
                self._finish()
        finally:
            shutil.rmtree(self._tmp, ignore_errors=True)

    def _finish(self) -> None:
        if not self._items:
            raise DataError(f"Nothing was found to write to {self._out}.", "Check --source.")
        if len({item.shape[0] for item in self._items}) > 1:
            raise DataError("Items differ in their number of channels.", "Prepare them as separate datasets.")
        manifest = StoreManifest(**self._head, items=self._items, fingerprint=fingerprint(self._head, self._items))
        (self._tmp / "manifest.json").write_text(manifest.model_dump_json(indent=1))
        if self._out.exists():
            self._out.rmdir()
        self._tmp.rename(self._out)


def fingerprint(head: dict[str, Any], items: list[Item]) -> str:
    """Returns the SHA-256 over the dataset's head and every item, hashes of the pixels included."""
    text = json.dumps([head, [item.model_dump(mode="json") for item in items]], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


class Pixels(Protocol):
    """What can be read of items: a store, or a store with synthetic lesions."""

    channels: int

    def image(self, item: Item) -> NDArray[np.float32]:
        """Returns intensities, float32 (c, h, w)."""
        ...

    def body(self, item: Item) -> NDArray[np.bool_]:
        """Returns the body mask, bool (h, w)."""
        ...

    def mask(self, item: Item) -> NDArray[np.uint8]:
        """Returns the truth, uint8 (h, w)."""
        ...


class Images:
    """The images and body masks of a store without its truth: all of it that may be lent to a method.

    Args:
        image: All intensities, flat.
        body: All body masks, flat.
        channels: Channels of each image.
    """

    def __init__(self, image: NDArray[Any], body: NDArray[Any], channels: int) -> None:
        self._image = image
        self._body = body
        self.channels = channels

    def image(self, item: Item) -> NDArray[np.float32]:
        """Returns intensities, float32 (c, h, w)."""
        c, h, w = item.shape
        start = item.offset * c
        return self._image[start : start + c * h * w].reshape(c, h, w).astype(np.float32)

    def body(self, item: Item) -> NDArray[np.bool_]:
        """Returns the body mask, bool (h, w)."""
        return _plane(self._body, item) == 1


class Store:
    """A store opened for reading.

    Args:
        path: The folder.

    Raises:
        DataError: If it is missing, damaged, or of another format.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self.manifest = StoreManifest.model_validate_json((path / "manifest.json").read_bytes())
        except FileNotFoundError as error:
            raise DataError(
                f"{path} is no prepared dataset (no manifest.json).", "Run: uadbench prepare ..."
            ) from error
        except ValidationError as error:
            raise DataError(f"{path}/manifest.json cannot be read.", "Prepare the data again.") from error
        head = self.manifest.model_dump(mode="json", exclude={"items", "fingerprint", "format"})
        if fingerprint(head, self.manifest.items) != self.manifest.fingerprint:
            raise DataError(f"{path}/manifest.json does not match its fingerprint.", "Prepare the data again.")
        self.items = self.manifest.items
        self.channels: int = self.items[0].shape[0]
        pixels = sum(item.shape[1] * item.shape[2] for item in self.items)
        self._image = self._map("image", np.dtype("<f2"), pixels * self.channels)
        self._body = self._map("body", np.dtype(np.uint8), pixels)
        self._mask = self._map("mask", np.dtype(np.uint8), pixels)
        self._by_uid = {item.uid: item for item in self.items}

    def _map(self, name: str, dtype: np.dtype[Any], count: int) -> NDArray[Any]:
        file = self.path / f"{name}.bin"
        size = file.stat().st_size if file.exists() else 0
        if size != count * dtype.itemsize:
            raise DataError(f"{file} has {size} bytes instead of {count * dtype.itemsize}.", "Prepare the data again.")
        return np.memmap(file, dtype=dtype, mode="r")

    def role(self, role: Role) -> list[Item]:
        """Returns the items of a role in stored order."""
        return [item for item in self.items if item.role == role]

    def item(self, uid: str) -> Item:
        """Returns the item with a uid."""
        return self._by_uid[uid]

    def without_truth(self) -> Images:
        """Returns the images and body masks alone."""
        return Images(self._image, self._body, self.channels)

    def image(self, item: Item) -> NDArray[np.float32]:
        """Returns intensities, float32 (c, h, w)."""
        return self.without_truth().image(item)

    def body(self, item: Item) -> NDArray[np.bool_]:
        """Returns the body mask, bool (h, w)."""
        return self.without_truth().body(item)

    def mask(self, item: Item) -> NDArray[np.uint8]:
        """Returns the truth: 0, 1 or IGNORE, uint8 (h, w). For the scorer and for supervised training alone."""
        return _plane(self._mask, item)

    def verify(self) -> None:
        """Checks the pixel hash of every item.

        Raises:
            DataError: Naming the first item whose bytes changed.
        """
        for item in self.items:
            c, h, w = item.shape
            digest = hashlib.sha256(self._image[item.offset * c : (item.offset + h * w) * c].tobytes())
            digest.update(_plane(self._body, item).tobytes())
            digest.update(_plane(self._mask, item).tobytes())
            if digest.hexdigest() != item.sha256:
                raise DataError(f"{self.path}: the pixels of {item.uid} changed.", "Prepare the data again.")


def _plane(array: NDArray[Any], item: Item) -> NDArray[Any]:
    _, h, w = item.shape
    return array[item.offset : item.offset + h * w].reshape(h, w)
