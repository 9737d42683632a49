"""Writing a store, atomically."""

from __future__ import annotations

import hashlib
import os
import shutil
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from uadbench.core.dataset import Source
from uadbench.core.errors import DataError
from uadbench.core.roles import Role
from uadbench.data.disk import writing
from uadbench.data.manifest import IGNORE, Item, StoreManifest, fingerprint


class StoreWriter:
    """Writes a store into a temporary sibling folder and renames it when all is there.

    Use as a context manager; on any exception, a full disk among them, nothing is left behind and what was there before
    stays whole.

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
        with writing(out):
            taken = out.exists() and (not out.is_dir() or any(out.iterdir()))
        if taken:
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
            with writing(self._out.parent):
                self._tmp.mkdir(parents=True)
                for name in ("image", "body", "mask"):
                    self._files[name] = (self._tmp / f"{name}.bin").open("wb")
        except DataError:
            self._clean()
            raise
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
        label_only: bool = False,
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
            label_only: Whether the image is abnormal and nobody knows where; the mask given is then of no account.

        Raises:
            DataError: If shapes, values or roles are wrong, or the disk takes no more.
        """
        pixels = np.ascontiguousarray(image, dtype="<f2")
        inside = np.ascontiguousarray(body, dtype=np.uint8)
        truth = np.ascontiguousarray(np.full(np.shape(mask), IGNORE) if label_only else mask, dtype=np.uint8)
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
        lesion = label_only or bool((truth == 1).any())
        if lesion and role in (Role.TRAIN, Role.CALIB):
            raise DataError(f"{uid}: role {role} is healthy only, but the mask holds a lesion.")
        if label_only and role != Role.TEST:
            raise DataError(f"{uid}: role {role} needs masks.", "Put images with a label alone into test.")
        digest = hashlib.sha256()
        for name, array in (("image", pixels), ("body", inside), ("mask", truth)):
            data = array.tobytes()
            digest.update(data)
            with writing(self._out.parent):
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
        try:
            if kind is None:
                self._finish()
        finally:
            self._clean()

    def _clean(self) -> None:
        for file in self._files.values():
            # On a full disk, closing writes what is buffered and fails again: the first error is the one to tell.
            with suppress(OSError):
                file.close()
        shutil.rmtree(self._tmp, ignore_errors=True)

    def _finish(self) -> None:
        if not self._items:
            raise DataError(f"Nothing was found to write to {self._out}.", "Check --source.")
        if len({item.shape[0] for item in self._items}) > 1:
            raise DataError("Items differ in their number of channels.", "Prepare them as separate datasets.")
        manifest = StoreManifest(**self._head, items=self._items, fingerprint=fingerprint(self._head, self._items))
        with writing(self._out.parent):
            for file in self._files.values():
                file.close()
            (self._tmp / "manifest.json").write_text(manifest.model_dump_json(indent=1))
            if self._out.exists():
                self._out.rmdir()
            self._tmp.rename(self._out)
