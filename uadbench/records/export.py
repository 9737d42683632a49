"""Records leave the runs: to a folder that is committed and that the report reads."""

from __future__ import annotations

import shutil
from pathlib import Path

from uadbench.core.files import atomic_write
from uadbench.core.job import Job
from uadbench.core.record import Record
from uadbench.records.layout import TABLES, record_path


def export_record(record: Record, folder: Path, records: Path) -> Path:
    """Copies record and tables to ``records/<protocol>/<dataset>/<method>/<id>.*``; returns the JSON file.

    The record comes last: where it is, the others are.
    """
    target = record_path(record, records)
    # A run of an older version has fewer tables; its record names those it has.
    tables = [(name, f".{name}") for name in TABLES if name in record.hashes]
    for name, suffix in [*tables, ("record.json", ".json")]:
        atomic_write(target.with_suffix(suffix), lambda part, name=name: shutil.copyfile(folder / name, part))
    return target


def exported_record(job: Job, records: Path) -> Record | None:
    """Returns the exported record of a job that is done, perhaps on another machine; None if there is none."""
    file = record_path(job, records)
    if not file.exists():
        return None
    try:
        record = Record.model_validate_json(file.read_bytes())
    except ValueError:
        return None  # not readable: the job is run again, which writes it anew
    return record if record.status == "done" and record.id == job.id else None
