"""The folder of a run: atomic writes, a lock, weights without pickle."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import yaml
from filelock import FileLock, Timeout
from safetensors.torch import load_file, save_file

from uadbench.core.errors import REMAKE, DataError, UserError, cut
from uadbench.core.files import atomic_text, atomic_write, sweep_leftovers, writing
from uadbench.core.job import Job
from uadbench.core.reading import read_yaml
from uadbench.core.record import Record
from uadbench.records.layout import RECORD, not_finished

VERSION = 1
"""Version of run folders, in the first line of config.yaml; older folders without one can still be read."""

_VERSION_KEY = "folder_version"


class InProgress(UserError):
    """A run that is locked by another process."""


class RunFolder:
    """``<root>/<id>/`` with record.json, config.yaml, cases.csv, maps/, weights, log.jsonl and overview.png.

    Args:
        path: The folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.record_file = path / RECORD
        self.job_file = path / "config.yaml"
        self.weights_file = path / "weights.safetensors"
        self.log_file = path / "log.jsonl"
        self.maps = path / "maps"

    @contextmanager
    def locked(self, *, fresh: bool = False) -> Generator[None]:
        """Acquires the run's lock; with ``fresh`` the folder is emptied first.

        Raises:
            InProgress: If another process has locked it.
            DataError: If the folder cannot be written, or is of another version.
        """
        lock = FileLock(self.path.with_name(f".{self.path.name}.lock"), timeout=0)
        with writing(self.path.parent):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            try:
                lock.acquire()
            except Timeout as error:
                raise InProgress(f"Run {self.path.name} is in progress in another process.", "Wait for it.") from error
        try:
            with writing(self.path):
                if fresh and self.path.exists():
                    shutil.rmtree(self.path)
                self.require_version()
                self.maps.mkdir(parents=True, exist_ok=True)
            sweep_leftovers(self.path)
            yield
        finally:
            lock.release()

    def require_version(self) -> None:
        """Raises an error if the folder's files are of another version.

        Raises:
            DataError: If they are.
        """
        found = self._version()
        if found not in (None, str(VERSION)):
            raise DataError(
                f"{self.path} is a run folder of version {cut(found)}, this is version {VERSION}.",
                "Run it again with --fresh, or read it with the program that made it.",
            )

    def _version(self) -> str | None:
        """Returns the version in the first line of config.yaml; None if there is none."""
        if not self.job_file.is_file():  # a pipe would wait for ever
            return None
        try:
            with self.job_file.open(encoding="utf-8") as file:
                key, _, value = file.readline(100).partition(":")
        except (OSError, UnicodeDecodeError):  # the reader reports what is wrong with it
            return None
        return value.strip() if key == _VERSION_KEY else None

    def record(self) -> Record | None:
        """Returns the stored record, if there is one.

        Raises:
            DataError: If it is damaged or of another version of uadbench.
        """
        self.require_version()
        if not self.record_file.exists():
            return None
        try:
            if not self.record_file.is_file():
                raise OSError(f"{self.record_file} is not a file")
            return Record.model_validate_json(self.record_file.read_bytes())
        except (OSError, ValueError) as error:
            raise _unreadable(self.record_file) from error

    def finished_record(self) -> Record:
        """Returns the record of a run that has ended.

        Raises:
            DataError: If there is none, or the run failed, or the record cannot be read.
        """
        record = self.record()
        if record is None or record.status != "done":
            raise not_finished(self.path)
        return record

    def save_record(self, record: Record) -> None:
        """Writes the record, which marks the run as ended."""
        self.write_text(self.record_file.name, record.model_dump_json(indent=1))

    def job(self) -> Job:
        """Returns the job of the run.

        Raises:
            DataError: If config.yaml is missing, damaged or of another version of uadbench.
        """
        self.require_version()
        try:
            values = read_yaml(self.job_file)
            if isinstance(values, dict):
                values.pop(_VERSION_KEY, None)
            return Job.model_validate(values)
        except (OSError, ValueError) as error:
            raise _unreadable(self.job_file) from error

    def save_job(self, job: Job) -> None:
        """Writes the job to config.yaml, below the version of the folder."""
        values = {_VERSION_KEY: VERSION, **job.model_dump(mode="json")}
        self.write_text(self.job_file.name, yaml.safe_dump(values, sort_keys=False))

    def write(self, name: str, write: Callable[[Path], object]) -> Path:
        """Writes a file under a temporary name and renames it, so readers never see a partial file.

        Args:
            name: File name in the folder.
            write: Given a path, writes the content there.

        Raises:
            DataError: If the system refuses to write.
        """
        return atomic_write(self.path / name, write)

    def write_text(self, name: str, text: str) -> Path:
        """Writes a text file atomically."""
        return atomic_text(self.path / name, text)

    def save_weights(self, state: Mapping[str, torch.Tensor]) -> None:
        """Writes tensors as safetensors; tensors that share memory are written separately."""
        tensors = {key: value.detach().cpu().contiguous().clone() for key, value in state.items()}
        self.write(self.weights_file.name, lambda path: save_file(tensors, path))

    def load_weights(self) -> dict[str, torch.Tensor]:
        """Reads the weights.

        Raises:
            DataError: If the file is missing or damaged.
        """
        try:
            return load_file(self.weights_file)
        except Exception as error:
            raise DataError(f"{self.weights_file} cannot be read: {error}.", REMAKE) from error

    def save_checkpoint(self, phase: str, content: Mapping[str, Any]) -> None:
        """Writes the newest checkpoint of a phase."""
        self.write(f"checkpoint-{phase}.pt", lambda path: torch.save(dict(content), path))

    def load_checkpoint(self, phase: str) -> dict[str, Any] | None:
        """Reads the newest checkpoint of a phase, never unpickling code.

        Raises:
            DataError: If it is damaged.
        """
        file = self.path / f"checkpoint-{phase}.pt"
        if not file.exists():
            return None
        try:
            return torch.load(file, map_location="cpu", weights_only=True)
        except Exception as error:
            raise DataError(f"{file} cannot be read.", REMAKE) from error

    def drop_checkpoints(self) -> None:
        """Removes checkpoints once the weights are stored."""
        for file in self.path.glob("checkpoint-*.pt"):
            file.unlink()

    def log(self, **entry: Any) -> None:
        """Appends a line to log.jsonl."""
        with writing(self.path), self.log_file.open("a") as file:
            file.write(json.dumps(entry) + "\n")


def _unreadable(file: Path) -> DataError:
    return DataError(f"{file} is missing, damaged or of another version of uadbench.", REMAKE)
