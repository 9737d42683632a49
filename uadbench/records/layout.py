"""Files of a run and a record, the path of a record, and the hashes that it contains."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict

from uadbench.core.errors import DataError
from uadbench.core.files import atomic_text
from uadbench.core.job import EXTERNAL, Job
from uadbench.core.record import Isolation, Record

RECORD = "record.json"
"""Name of the record in the folder of its run."""

VERIFICATION = "verification.json"
"""Verification level of a record: a file next to it, outside its hash."""

Level = Literal["reported", "recomputed", "rerun"]
LEVELS: tuple[Level, ...] = get_args(Level)
"""Levels of verification, lowest first."""

EARLIER = "earlier.json"
"""Next to ``records/``: hashes of records of earlier versions that keep their rank."""
TABLES = ("cases.csv", "curves.json", "ladder.json", "gaps.json", "thresholds.json")
"""Tables of a record, in a run's folder and (as ``<id>.<table>``) under ``leaderboard/records``."""

SPEC = "spec.json"
"""Shape of the images that the method was built for, in a run's folder."""


@dataclass(frozen=True)
class Again:
    """How a method is run again by whoever verifies.

    Attributes:
        isolated: Whether in a child process that gets images and body masks alone; it is then also fitted anew.
        fresh_phantom: Seed of another phantom that it is fitted and scored on as well; None for none.
    """

    isolated: bool = False
    fresh_phantom: int | None = None


class Verified(BaseModel):
    """Contents of ``verification.json``: the verification level of a record.

    Attributes:
        level: Verification level.
        record: SHA-256 of the verified record; "" if not noted.
        isolated: Isolation of the method in the rerun.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    level: Level
    record: str = ""
    isolated: Isolation = "none"


def finished_run(path: Path) -> Path:
    """Returns the folder of a run that has ended, successfully or not.

    Raises:
        DataError: If it holds no record.
    """
    if not (path / RECORD).is_file():
        raise not_finished(path)
    return path


def not_finished(path: Path) -> DataError:
    """Returns the error for a folder without the record of a successful run."""
    return DataError(f"{path} does not hold a finished run.", "Give the folder runs/ID of a run that ended.")


def needed_files(record: Record) -> set[str]:
    """Returns the files whose hashes a finished record must contain; schema 1 predates some tables."""
    if record.schema_version == 1:
        return {"cases.csv", "curves.json"}
    return {*TABLES} if record.method.preset == EXTERNAL else {SPEC, *TABLES}


def record_path(job: Job | Record, records: Path) -> Path:
    """Returns ``records/<protocol>/<dataset>/<method>/<id>.json``, the export path of a job's record."""
    data = job.test_on or job.dataset
    return records / job.protocol.name / data.name / job.method.name / f"{job.id}.json"


def beside(record_file: Path, name: str) -> Path:
    """Returns the path of a record's table: ``name`` in a run's folder, ``<id>.<name>`` of an exported record."""
    return record_file.with_name(name if record_file.name == RECORD else f"{record_file.stem}.{name}")


def write_level(file: Path, level: Level, record_hash: str = "", *, isolated: Isolation = "none") -> None:
    """Writes the verification level of a record.

    Args:
        file: ``verification.json`` next to the record.
        level: Verification level.
        record_hash: SHA-256 of the verified record, if a later check must recognise it.
        isolated: Isolation of the method in the rerun.

    Raises:
        DataError: If the file cannot be written.
    """
    told = {"level": level, "record": record_hash, "isolated": "" if isolated == "none" else isolated}
    atomic_text(file, json.dumps({key: value for key, value in told.items() if value}))


def hash_files(folder: Path) -> dict[str, str]:
    """Returns the SHA-256 of every artefact of a run that its record lists, by relative path."""
    names = ["weights.safetensors", SPEC, *TABLES]
    names += [file.relative_to(folder).as_posix() for file in sorted(folder.glob("maps/*/*")) if file.is_file()]
    hashes: dict[str, str] = {}
    for name in names:
        file = folder / name
        if file.exists():
            hashes[name] = sha256_of(file)
    return hashes


def sha256_of(file: Path) -> str:
    """Returns the SHA-256 of a file in hex digits."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
