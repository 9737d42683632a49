"""Exports records from runs to the committed folder that the report reads."""

from __future__ import annotations

import shutil
from pathlib import Path

from uadbench.core.files import atomic_write
from uadbench.core.job import Job
from uadbench.core.record import Record
from uadbench.records.layout import TABLES, record_path


def export_record(record: Record, folder: Path, records: Path) -> Path:
    """Copies record and tables to ``records/<protocol>/<dataset>/<method>/<id>.*``; returns the JSON file.

    The record is written last: if it exists, the others do.
    """
    target = record_path(record, records)
    # A run of an older version has fewer tables; its record lists them.
    tables = [(name, f".{name}") for name in TABLES if name in record.hashes]
    for name, suffix in [*tables, ("record.json", ".json")]:
        atomic_write(target.with_suffix(suffix), lambda part, name=name: shutil.copyfile(folder / name, part))
    return target


def exported_record(job: Job, records: Path) -> Record | None:
    """Returns the exported record of a finished job, possibly from another machine; None if there is none."""
    file = record_path(job, records)
    if not file.exists():
        return None
    try:
        record = Record.model_validate_json(file.read_bytes())
    except ValueError:
        return None  # not readable: the job is repeated and writes a new one
    return record if record.status == "done" and record.id == job.id else None
