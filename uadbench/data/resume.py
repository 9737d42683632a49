"""Conversions that go on where they were interrupted: parts are kept beside the store until all are there."""

from __future__ import annotations

import os
import shutil
import zipfile
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from uadbench.core.record import stable_hash
from uadbench.data.disk import writing
from uadbench.data.workers import in_order

Job = TypeVar("Job")
Arrays = dict[str, NDArray[Any]]


@contextmanager
def kept_parts(out: Path) -> Generator[Path]:
    """Yields the folder of parts beside ``out``. It outlives an interruption, and neither success nor an error."""
    folder = out.with_name(f".{out.name}.parts")
    try:
        yield folder
    except Exception:
        # An error names its file; after the repair all parts are made again, so that none is of another version.
        shutil.rmtree(folder, ignore_errors=True)
        raise
    shutil.rmtree(folder, ignore_errors=True)


def resumed(
    function: Callable[[Job], Mapping[str, NDArray[Any]]],
    jobs: Sequence[Job],
    sources: Sequence[Sequence[Path]],
    folder: Path,
    workers: int,
) -> Iterator[Arrays]:
    """Yields the arrays of each job in order; those of an earlier, interrupted call are read instead of made.

    Args:
        function: A module-level function from a job to named arrays.
        jobs: Its arguments; their ``repr`` and the state of their files say whether a kept part is theirs.
        sources: The files that each job reads.
        folder: Where parts are kept.
        workers: Processes.

    Raises:
        DataError: If a part cannot be written, and whatever the function raises.
    """
    parts = [_Part(function, job, folder / f"{_key(job, files)}.npz") for job, files in zip(jobs, sources, strict=True)]
    for file in in_order(_make, parts, workers):
        with np.load(file, allow_pickle=False) as data:
            yield dict(data.items())


@dataclass(frozen=True)
class _Part(Generic[Job]):
    function: Callable[[Job], Mapping[str, NDArray[Any]]]
    job: Job
    file: Path


def _make(part: _Part[Any]) -> Path:
    if part.file.exists() and zipfile.is_zipfile(part.file):
        return part.file
    arrays = part.function(part.job)
    unfinished = part.file.with_name(f"{part.file.stem}.{os.getpid()}.unfinished")
    try:
        with writing(part.file.parent):
            part.file.parent.mkdir(parents=True, exist_ok=True)
            with unfinished.open("wb") as stream:
                np.savez(stream, allow_pickle=False, **arrays)
            unfinished.rename(part.file)
    finally:
        unfinished.unlink(missing_ok=True)
    return part.file


def _key(job: object, files: Sequence[Path]) -> str:
    states = [(file.stat().st_size, file.stat().st_mtime_ns) for file in files if file.exists()]
    return stable_hash([repr(job), states])
