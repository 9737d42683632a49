"""Scores stored maps again, without the model."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from uadbench.core.dataset import Progress
from uadbench.core.errors import REMAKE, DataError, UserError
from uadbench.core.job import Job
from uadbench.core.record import SCHEMA, ProtocolPart, Record
from uadbench.evaluation.protocol.protocol import load_protocol
from uadbench.records.layout import VERIFICATION, hash_files
from uadbench.runner.scoring.score_run import score_run
from uadbench.runner.storage.open_run import OpenRun, open_run
from uadbench.runner.storage.run_folder import RunFolder


def rescore(
    path: Path,
    protocol: str,
    source: str | None,
    test_source: str | None,
    progress: Progress,
    *,
    in_place: bool = False,
) -> tuple[Record, Path]:
    """Scores the stored maps of a run under a protocol.

    Args:
        path: Folder of the run.
        protocol: Name of the protocol.
        source: Prepared data of the run, None for the phantom.
        test_source: Its prepared test data.
        progress: Called while a phantom is simulated.
        in_place: Update the run's own record, under its own protocol, if metrics were added to the scorer
            since; otherwise the result is written to ``<run>/rescored/<protocol>/`` and the run is not changed.

    Returns:
        The new record and its folder.

    Raises:
        DataError: If it is not a finished run, the data differ, or (in place) maps or weights have changed.
        UserError: If ``in_place`` is requested under a protocol other than the run's.
    """
    run = open_run(path, source, test_source, progress)
    rules = load_protocol(protocol)
    part = ProtocolPart(name=rules.name, version=rules.version, hash=rules.hash)
    target = run.folder
    if in_place:
        _check_in_place(run, part)
    else:
        target = RunFolder(path / "rescored" / protocol)
        target.path.mkdir(parents=True, exist_ok=True)
        target.maps = run.folder.maps
    plan, record = run.plan, run.record
    evaluation, hashes = score_run(plan.train, plan.test, target, rules, plan.job.seed, present_only=run.external)
    job = Job.model_validate({**plan.job.model_dump(), "protocol": part.model_dump()})
    again = record.model_copy(
        update={
            "id": job.id,
            "created": record.created if in_place else datetime.now(UTC).isoformat(timespec="seconds"),
            "protocol": part,
            "metrics": evaluation.metrics,
            "ledger": record.ledger.model_copy(
                update={
                    "threshold_labels": evaluation.threshold_labels,
                    "organ_masks_at_test": plan.test.manifest.organ_masks,
                }
            ),
            "hashes": {**record.hashes, **hashes},
            "schema_version": SCHEMA if in_place else record.schema_version,
        }
    )
    target.save_record(again)
    if in_place and not run.external:
        # The earlier verification does not apply to the new record.
        (path / VERIFICATION).unlink(missing_ok=True)
    return again, target.path


def _check_in_place(run: OpenRun, part: ProtocolPart) -> None:
    """Refuses to write a new record if the maps differ from those of the old one."""
    before = run.record.protocol
    if before != part:
        was = before.name if before.name != part.name else f"version {before.version} of {before.name}"
        raise UserError(
            f"{run.folder.path.name} was scored under {was}, not {part.name} version {part.version}.",
            "Remove --in-place.",
        )
    found = hash_files(run.folder.path)
    for name, known in run.record.hashes.items():
        if (name.startswith("maps/") or name == run.folder.weights_file.name) and found.get(name) != known:
            raise DataError(f"{run.folder.path}/{name} does not have the hash in the record.", REMAKE)
