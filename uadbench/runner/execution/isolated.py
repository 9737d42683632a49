"""Fit and predict in a child process that gets only images and body masks; the caller scores its output."""

from __future__ import annotations

import json
import shutil
import stat
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from pydantic import ValidationError

from uadbench.core.errors import DataError, JobFailed
from uadbench.core.numerics import Numerics
from uadbench.core.record import Isolation
from uadbench.core.roles import Role
from uadbench.data.reading.npy import map_npy
from uadbench.data.storage.batches import lending_order
from uadbench.data.storage.store import Item, Pixels
from uadbench.runner.execution.lent_data import lend
from uadbench.runner.execution.order import FAILED, FIT, ORDER, PREDICT, PROBE, RESULT, Order, Outcome
from uadbench.runner.execution.sandbox import find_sandbox, start, status_of
from uadbench.runner.planning.datasets import cache_folder
from uadbench.runner.planning.plan import Plan
from uadbench.runner.storage.run_folder import RunFolder

MODULE = "uadbench.runner.execution.isolated_child"
ARRAYS = {"maps.npy": np.float32, "scores.npy": np.float32, "reconstruction.npy": np.float16}
LARGEST_WORDS = 10_000


@dataclass(frozen=True)
class Isolated:
    """A plan whose method runs in a child process.

    Attributes:
        plan: The job.
        device: cpu or cuda.
        numerics: Number format and layout to compute in.
        hidden: Folders hidden from the child, in addition to the stores and the phantom cache.
        titles: Text of the child's progress bar by phase; it draws none for a phase without one.
        later: Seconds of prediction for each second of training, for the time left; None if unknown.
        checkpoint_seconds: Minimum time between checkpoints.
    """

    plan: Plan
    device: str
    numerics: Numerics
    hidden: Sequence[Path] = ()
    titles: Mapping[str, str] = field(default_factory=dict[str, str])
    later: float | None = None
    checkpoint_seconds: float = 30.0

    def fit(self, labelled: Sequence[Item], work: Path) -> Outcome:
        """Fits and writes ``work/weights.safetensors``; resumes from checkpoints in ``work``.

        Args:
            labelled: Items whose masks are provided to a supervised method; empty otherwise.
            work: Folder that the child may write to.

        Raises:
            JobFailed: If the child fails.
        """
        store = self.plan.train
        with TemporaryDirectory() as scratch:
            lent = Path(scratch)
            lend(store, store.role(Role.TRAIN), lent / "train")
            lend(store, store.role(Role.CALIB), lent / "calib")
            if labelled:
                lend(store, labelled, lent / "labelled", masks=True)
            return self._run(FIT, lent, work)

    def probe(self) -> Numerics:
        """Finds the fastest number format and layout for the method.

        Raises:
            JobFailed: If the child fails, or returns something else.
        """
        with TemporaryDirectory() as lent, TemporaryDirectory() as work:
            outcome = self._run(PROBE, Path(lent), Path(work))
        try:
            return Numerics.parse(outcome.numerics)
        except ValueError as error:
            raise JobFailed(f"The isolated process of {PROBE} left no number format.") from error

    def predict(self, weights: Path, parts: Mapping[str, tuple[Pixels, list[Item]]], maps: Path) -> Outcome:
        """Predicts every part into ``maps/<part>``, as ``predict_items`` writes it.

        Args:
            weights: The fitted state.
            parts: Items to predict, by name.
            maps: Output folder for the maps.

        Raises:
            JobFailed: If the child fails, or returns anything but finite arrays of the right shapes.
        """
        with TemporaryDirectory() as scratch, TemporaryDirectory() as output:
            lent, work = Path(scratch), Path(output)
            shutil.copyfile(weights, lent / weights.name)
            for name, (pixels, items) in parts.items():
                lend(pixels, [items[place] for place in lending_order(items)], lent / name)
            outcome = self._run(PREDICT, lent, work)
            for name, (_, items) in parts.items():
                _take(work / name, maps / name, self.plan, items)
        return outcome

    def _run(self, phase: str, lent: Path, work: Path) -> Outcome:
        job, config = self.plan.job, self.plan.config
        order = Order(
            method=job.method.name,
            config=config.model_dump(mode="json"),
            spec=asdict(self.plan.spec),
            seed=job.seed,
            device=self.device,
            numerics=str(self.numerics),
            batch=config.predict_batch,
            threads=torch.get_num_threads(),
            checkpoint_seconds=self.checkpoint_seconds,
            title=self.titles.get(phase, ""),
            later=self.later,
        )
        (lent / ORDER).write_text(order.model_dump_json())
        work.mkdir(parents=True, exist_ok=True)
        for name in (RESULT, FAILED):
            (work / name).unlink(missing_ok=True)
        hidden = [self.plan.train.path, self.plan.test.path, cache_folder(), *self.hidden]
        arguments = [MODULE, phase, "LENT", "WORK"]
        places = [path.resolve() for path in hidden]
        child = start(find_sandbox(), arguments, lent, work, places, gpu=self.device == "cuda")
        status = status_of(child)
        if status != 0:
            raise JobFailed(_words(work / FAILED) or f"The isolated process of {phase} ended with status {status}.")
        try:
            outcome = Outcome.model_validate_json(_start_of(work / RESULT))
        except (OSError, ValidationError) as error:
            raise JobFailed(f"The isolated process of {phase} left no result.") from error
        return outcome.model_copy(update={"notes": [_line(note) for note in outcome.notes]})


def isolation() -> tuple[Isolation, str]:
    """Returns how a child is isolated on this machine, and why it has no namespace ("" if it has)."""
    box = find_sandbox()
    return box.isolation, box.why


def _take(source: Path, target: Path, plan: Plan, items: Sequence[Item]) -> None:
    """Copies the arrays of a part after checking their types, shapes and values."""
    back = np.argsort(lending_order(items))  # from the order of the copy to that of the items
    size, channels = plan.config.image_size, plan.train.channels
    shapes: dict[str, tuple[int, ...]] = {
        "maps.npy": (len(items), size, size),
        "scores.npy": (len(items),),
        "reconstruction.npy": (len(items), channels, size, size),
    }
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    for name, dtype in ARRAYS.items():
        if name == "reconstruction.npy" and not (source / name).exists():
            continue
        try:
            array = map_npy(plain_file(source / name))
        except (OSError, DataError) as error:
            raise JobFailed(f"The isolated process left no readable {source.name}/{name}.") from error
        # Values come last: a file with holes may claim more of them than can ever be looked at.
        expected = array.dtype == dtype and array.shape == shapes[name]
        if not expected or not all(bool(np.isfinite(part).all()) for part in _chunks(array)):
            raise JobFailed(f"The isolated process left {source.name}/{name} of another type or shape, or not finite.")
        np.save(target / name, array[back])
    RunFolder(target).write_text("uids.json", json.dumps([item.uid for item in items]))


def _chunks(array: np.ndarray) -> Iterable[np.ndarray]:
    return (array[start : start + 256] for start in range(0, len(array), 256))


def plain_file(file: Path) -> Path:
    """Returns a file written by the child if it is a plain file: a link could point anywhere.

    Raises:
        OSError: If it is missing or something else.
    """
    if not stat.S_ISREG(file.lstat().st_mode) or file.parent.is_symlink():
        raise OSError(f"{file.name} is not a plain file")
    return file


def _words(file: Path) -> str:
    try:
        return _line(_start_of(file).decode(errors="replace"))
    except OSError:
        return ""


def _line(text: str) -> str:
    """Returns what a child says as one line that moves no cursor."""
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())


def _start_of(file: Path) -> bytes:
    """Returns the start of what a child left; all of it would fill the memory.

    Raises:
        OSError: If it is missing or no plain file.
    """
    with plain_file(file).open("rb") as stream:
        return stream.read(LARGEST_WORDS)


def take_weights(work: Path, folder: RunFolder) -> None:
    """Stores the weights written by a child in the run's folder.

    Raises:
        JobFailed: If they are missing or not safetensors.
    """
    try:
        plain_file(work / folder.weights_file.name)
        state = RunFolder(work).load_weights()
    except (OSError, DataError) as error:
        raise JobFailed("The isolated process left no readable weights.") from error
    folder.save_weights(state)
