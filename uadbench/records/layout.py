"""Which files a run and a record consist of, where a record stands, and the hashes that it vouches for."""

from __future__ import annotations

import hashlib
from pathlib import Path

from uadbench.core.job import EXTERNAL, Job
from uadbench.core.record import Record

TABLES = ("cases.csv", "curves.json", "ladder.json", "gaps.json", "thresholds.json")
"""Tables beside a record, in a run's folder and (as ``<id>.<table>``) under ``leaderboard/records``."""

SPEC = "spec.json"
"""Shape of the images that the method was built for, in a run's folder."""


def needed_files(record: Record) -> set[str]:
    """Returns what a finished record must name a hash of; those of schema 1 were written before some tables were."""
    if record.schema_version == 1:
        return {"cases.csv", "curves.json"}
    return {*TABLES} if record.method.preset == EXTERNAL else {SPEC, *TABLES}


def record_path(job: Job | Record, records: Path) -> Path:
    """Returns ``records/<protocol>/<dataset>/<method>/<id>.json``, where the record of a job is exported to."""
    data = job.test_on or job.dataset
    return records / job.protocol.name / data.name / job.method.name / f"{job.id}.json"


def hash_files(folder: Path) -> dict[str, str]:
    """Returns the SHA-256 of every artefact of a run that its record vouches for, by relative path."""
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
