"""Checks a received bundle: nothing in it is executed, and its metrics are recomputed."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from pydantic import ValidationError

from uadbench.core.config import is_result
from uadbench.core.dataset import Progress
from uadbench.core.errors import DataError
from uadbench.core.record import SCHEMA, Isolation, Record
from uadbench.records.export import export_record
from uadbench.records.layout import VERIFICATION, Again, Level, beside, hash_files, needed_files, write_level
from uadbench.records.read import read_entries
from uadbench.runner.storage.run_folder import RunFolder
from uadbench.verification.bundle import WEIGHTS, opened_bundle
from uadbench.verification.check_record import recompute_from_tables
from uadbench.verification.claims import check_claims
from uadbench.verification.verify_run import verify_run

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,79}")


@dataclass(frozen=True)
class Submission:
    """Result of checking a bundle.

    Attributes:
        record: Its record.
        level: ``reported`` without maps, ``recomputed`` if every metric was recomputed from them,
            ``rerun`` if they were predicted again as well.
        problems: One line each; empty if the bundle is valid.
        exported: Path of the exported record.
        isolated: Isolation of the method in the rerun.
    """

    record: Record
    level: Level
    problems: list[str]
    exported: Path | None = None
    isolated: Isolation = "none"


def check_bundle(
    bundle: Path,
    source: str | None,
    test_source: str | None,
    progress: Progress,
    *,
    records: Path | None = None,
    with_data: bool = True,
    again: Again | None = None,
) -> Submission:
    """Verifies a bundle without running anything in it: its method is the one registered here.

    With maps, every metric, table and ledger entry is recomputed with the protocol and data of this machine.

    Args:
        bundle: The file.
        source: Prepared data, None for the phantom.
        test_source: Prepared test data.
        progress: Called while a phantom is simulated.
        with_data: Whether the data are available; without them only hashes are compared.
        again: How to rerun the method with the weights of the bundle; None for no rerun.
        records: Folder to which a valid record and its tables are exported with the level; None for no export.

    Raises:
        DataError: If it is not a bundle, or the data differ.
    """
    with opened_bundle(bundle) as folder:
        try:
            record = Record.model_validate_json((folder / "record.json").read_bytes())
        except ValidationError as error:
            raise DataError("record.json in the bundle is not a record.", "Write it again.") from error
        refused = [refusal.reason for refusal in read_entries([folder])[1]]
        problems = [*refused, *_compare_job(record, folder / "config.yaml")]
        if not problems:
            claims = check_claims(record)
            problems = [*claims.problems, *([f"record.json: {claims.superseded}"] if claims.superseded else [])]
        if problems:
            return Submission(record, "reported", problems)
        if again is not None and not ((folder / "maps").is_dir() and (folder / WEIGHTS).exists()):
            raise DataError(f"{bundle} holds no maps or no weights.", "Write it with: uadbench submit RUN --weights")
        result = _compare_files(record, folder, source, test_source, progress, with_data=with_data, again=again)
        if result.problems or records is None:
            return result
        target = export_record(record, folder, records)
        write_level(beside(target, VERIFICATION), result.level, isolated=result.isolated)
        return replace(result, exported=target)


def _compare_job(record: Record, config: Path) -> list[str]:
    """Compares the record with the job hashed into its id, and refuses invalid names."""
    tested = record.test_on or record.dataset
    for name in (record.id, record.protocol.name, record.dataset.name, tested.name, record.method.name):
        if not _NAME.fullmatch(name):
            return [f"record.json: the name {name[:60]!r} is not allowed"]
    if record.schema_version < SCHEMA:
        return ["record.json: written by an earlier version: run uadbench evaluate --in-place, then submit it again"]
    if record.status != "done" or not is_result(record.method.preset):
        return ["record.json: it is not a finished run above preset smoke"]
    try:
        job = RunFolder(config.parent).job()
    except DataError:
        return ["config.yaml: it is not a job"]
    parts = ("id", "method", "seed", "dataset", "test_on", "protocol")
    return [
        f"record.json: {part} is not that of config.yaml"
        for part in parts
        if getattr(job, part) != getattr(record, part)
    ]


def _compare_files(
    record: Record,
    folder: Path,
    source: str | None,
    test_source: str | None,
    progress: Progress,
    *,
    with_data: bool,
    again: Again | None,
) -> Submission:
    if not with_data or not (folder / "maps").is_dir():
        hashes = hash_files(folder)
        wrong = [
            f"{name}: it does not have the hash in record.json"
            for name in sorted({*hashes, *needed_files(record)})
            if name not in hashes or record.hashes.get(name) != hashes[name]
        ]
        return Submission(record, "reported", wrong or recompute_from_tables(record, lambda name: folder / name))
    try:
        options = {} if again is None else {"rerun": True, **asdict(again)}
        result = verify_run(folder, source, test_source, progress, **options)
    except RecursionError:
        return Submission(record, "recomputed", ["maps: a file is nested too deeply"])
    # The record contains the hash of the weights whether or not they are included.
    expected = set[str]() if (folder / WEIGHTS).exists() else {f"{WEIGHTS}: missing"}
    problems = [line for line in result.problems if line not in expected]
    return Submission(record, result.level, problems, isolated=result.isolated)
