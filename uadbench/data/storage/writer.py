"""Writing a store atomically, with resume after an interruption."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, TypedDict, TypeVar, Unpack

import numpy as np
from numpy.typing import NDArray

import uadbench
from uadbench.core.dataset import Dataset, Source
from uadbench.core.errors import DataError, UserError
from uadbench.core.files import writing
from uadbench.core.record import stable_hash
from uadbench.core.roles import Role
from uadbench.data.preprocessing.intake import Intake
from uadbench.data.storage.manifest import FORMAT, IGNORE, UNHASHED, Item, StoreManifest, fingerprint
from uadbench.data.storage.partial import Partial
from uadbench.data.storage.workers import in_order


class Job(Protocol):
    """Argument of a converter. Its ``repr`` and the state of its files identify the conversion."""

    @property
    def files(self) -> Sequence[Path]:
        """All files that the conversion reads; a folder stands for its contents."""
        ...


AnyJob = TypeVar("AnyJob", bound=Job)
Result = TypeVar("Result")


class _Told(TypedDict, total=False):
    """Arguments of ``StoreWriter`` that have a default."""

    polarity: int
    modality: str
    ranked: bool
    notes: list[str]
    organ_masks: bool
    intake: Intake
    health_masks: int


class StoreWriter:
    """Writes a store into a hidden sibling folder and renames it when complete.

    Use as a context manager. Bad input and a full disk leave nothing behind and do not affect existing files. Any
    other interruption keeps what ``converted`` had finished, and a writer of the same store resumes.

    Args:
        out: Folder to create.
        dataset: Dataset name.
        version: Dataset version.
        source: Source badge.
        recipe: Recipe, e.g. "strict" or "phantom".
        polarity: Expected sign of lesion contrast.
        modality: Modality and organ, see ``StoreManifest``; "" if unknown.
        ranked: False for data that must never be ranked (give the reason in notes).
        notes: Lines for the reader of the record.
        organ_masks: Whether an organ mask defines the body or the crop of the images.
        intake: How new images are scaled; None if the dataset defines it.
        health_masks: Number of lesion masks used to select the healthy slices of train and calib.
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
        modality: str = "",
        ranked: bool = True,
        notes: list[str] | None = None,
        organ_masks: bool = False,
        intake: Intake | None = None,
        health_masks: int = 0,
    ) -> None:
        with writing(out):
            taken = out.exists() and (not out.is_dir() or any(out.iterdir()))
        if taken:
            raise DataError(f"{out} exists and is not empty.", "Choose another --out or remove it.")
        self._out = out
        self._partial = Partial(out)
        self._head: dict[str, Any] = {
            "dataset": dataset,
            "version": version,
            "source": source,
            "recipe": recipe,
            "polarity": polarity,
            "modality": modality,
            "ranked": ranked,
            "notes": notes or [],
            "organ_masks": organ_masks,
            "intake": None if intake is None else intake.model_dump(mode="json"),
            "health_masks": health_masks,
        }
        self._items: list[Item] = []
        self._uids: set[str] = set()
        self._roles: dict[str, Role] = {}
        self._offset = 0
        self._begun = False

    @classmethod
    def of(
        cls, dataset: Dataset, out: Path, *, source: Source, recipe: str | None = None, **told: Unpack[_Told]
    ) -> StoreWriter:
        """Starts a store of a dataset, with its name, version, polarity and modality unless specified otherwise.

        Args:
            dataset: The dataset.
            out: Folder to create.
            source: Source badge.
            recipe: Recipe of raw files; None for the phantom, whose key is its recipe.
            told: Values that differ from the card, and further arguments of the class.
        """
        whole: _Told = {"polarity": dataset.card.polarity, "modality": dataset.card.organ_modality}
        whole.update(told)
        made = f"phantom-{dataset.phantom_key()}" if recipe is None else recipe
        return cls(out, dataset=dataset.name, version=dataset.version, source=source, recipe=made, **whole)

    def __enter__(self) -> StoreWriter:
        self._partial.open()
        return self

    def say(self, notes: Sequence[str]) -> None:
        """Adds notes that are known only after conversion."""
        self._head["notes"] = [*self._head["notes"], *notes]

    @property
    def items(self) -> Sequence[Item]:
        """The items added, by an interrupted writer or by this one."""
        return self._items

    def converted(
        self, function: Callable[[AnyJob], Result], jobs: Sequence[AnyJob], workers: int
    ) -> Iterator[tuple[int, AnyJob, Result]]:
        """Converts jobs in order, skipping those finished by an interrupted writer of the same store.

        A job is finished, and survives an interruption, when the next one is requested.

        Args:
            function: A module-level function.
            jobs: Its arguments for all items of the store, in order.
            workers: Processes; 1 runs in this process.

        Yields:
            The number of jobs done including this one, the job, and the function's result.

        Raises:
            DataError: If the system refuses to write, and whatever the function raises.
        """
        kept = self._begin(
            {
                "recipe or options": stable_hash([FORMAT, uadbench.__version__, self._head]),
                "cases": stable_hash([repr(job) for job in jobs]),
                "source files": stable_hash([[_state(path) for path in job.files] for job in jobs]),
            }
        )
        left = jobs[kept:]
        for done, (job, result) in enumerate(zip(left, in_order(function, left, workers), strict=True), kept + 1):
            before = len(self._items)
            yield done, job, result
            self._partial.commit(self._items[before:])

    def _begin(self, making: Mapping[str, str]) -> int:
        """Loads the finished part and returns its number of jobs."""
        kept = self._partial.begin(making)
        self._begun = True
        for item in (item for items in kept for item in items):
            self._note(item)
        return len(kept)

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
            spacing: Millimetres per pixel (row, column).
            thickness: Slice distance in mm.
            label_only: Whether the image is abnormal at an unknown location; the given mask is then ignored.

        Raises:
            DataError: If shapes, values or roles are wrong, or the disk is full.
        """
        pixels = np.ascontiguousarray(image, dtype="<f2")
        inside = np.ascontiguousarray(body, dtype=np.uint8)
        truth = np.ascontiguousarray(np.full(np.shape(mask), IGNORE) if label_only else mask, dtype=np.uint8)
        if pixels.ndim != 3 or inside.shape != pixels.shape[1:] or truth.shape != inside.shape:
            raise DataError(f"{uid}: image {pixels.shape}, body {inside.shape} and mask {truth.shape} do not match.")
        if not np.isfinite(pixels).all():
            raise DataError(f"{uid}: the image holds NaN or infinite values.", "Repair or remove the file.")
        if not np.isin(truth, (0, 1, IGNORE)).all():
            raise DataError(f"{uid}: the mask holds values other than 0, 1 and 255.", "Binarise it.")
        if not inside.any():
            raise DataError(f"{uid}: the body mask is empty.", "Check the image or its region of interest.")
        if uid in self._uids:
            raise DataError(f"Two items have the uid {uid}.", "Make uids unique.")
        if self._roles.get(patient, role) != role:
            raise DataError(
                f"Patient {patient} is in roles {self._roles[patient]} and {role}.", "Split by patient, not by image."
            )
        lesion = label_only or bool((truth == 1).any())
        if lesion and role in (Role.TRAIN, Role.CALIB):
            raise DataError(f"{uid}: role {role} is healthy only, but the mask holds a lesion.")
        if label_only and role != Role.TEST:
            raise DataError(f"{uid}: role {role} needs masks.", "Put images with only a label into test.")
        if not self._begun:
            self._begin({})
        digest = hashlib.sha256()
        for name, array in (("image", pixels), ("body", inside), ("mask", truth)):
            data = array.tobytes()
            digest.update(data)
            self._partial.write(name, data)
        self._note(
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

    def _note(self, item: Item) -> None:
        self._items.append(item)
        self._uids.add(item.uid)
        self._roles[item.patient] = item.role
        self._offset += item.shape[1] * item.shape[2]

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # After an input error everything is converted again, so that no part is from another version of a file.
        keep = not isinstance(error, UserError)
        try:
            if kind is None:
                self._finish()
                keep = False
        except UserError:
            keep = False
            raise
        finally:
            self._partial.close(keep=keep)

    def _finish(self) -> None:
        if not self._items:
            raise DataError(f"Nothing was found to write to {self._out}.", "Check --source.")
        if len({item.shape[0] for item in self._items}) > 1:
            raise DataError("Items differ in their number of channels.", "Prepare them as separate datasets.")
        hashed = {name: value for name, value in self._head.items() if name not in UNHASHED}
        manifest = StoreManifest(**self._head, items=self._items, fingerprint=fingerprint(hashed, self._items))
        self._partial.finish(manifest.model_dump_json(indent=1))


def _state(path: Path) -> list[tuple[str, int, int]]:
    """Returns the size and time of a file, or of the files in a folder, to detect changes; empty if missing."""
    every = sorted(path.rglob("*")) if path.is_dir() else [path]
    states = [(file.name, file.stat()) for file in every if file.is_file()]
    return [(name, state.st_size, state.st_mtime_ns) for name, state in states]
