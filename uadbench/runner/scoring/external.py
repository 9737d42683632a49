"""Scores the maps of an external system: files are found by name, checked against the data, and stored like a run."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import torch

from uadbench.core.errors import DataError, UserError
from uadbench.core.files import atomic_write
from uadbench.core.job import EXTERNAL, Job, check_system_name
from uadbench.core.numerics import PLAIN
from uadbench.core.record import DatasetPart, Ledger, MethodPart, ProtocolPart, Record
from uadbench.core.roles import Role
from uadbench.data.reading.folder import visible
from uadbench.data.storage.store import Store
from uadbench.evaluation.protocol.protocol import Protocol
from uadbench.records.environment import environment
from uadbench.records.layout import VERIFICATION, write_level
from uadbench.runner.planning.plan import dataset_part
from uadbench.runner.scoring.external_maps import match, some, store_maps
from uadbench.runner.scoring.score_run import score_run
from uadbench.runner.storage.run_folder import RunFolder

ROLES = (Role.CALIB, Role.VAL, Role.TEST)
UNRANKED = "No maps of the calib patients were given, so there is no label-free threshold: never ranked."


@dataclass(frozen=True)
class Claim:
    """What somebody says of a system whose maps they bring.

    Attributes:
        name: Name of the row: lower case letters, digits and underscores.
        version: Version of the system.
        supervision: Labels it learnt from: "none", "healthy" or "masks".
        tuning_labels: Labels its settings were chosen on: "none", "synthetic", "val", "test" or "unknown".
        seed: Training seed, so that several of them make one row.
    """

    name: str
    version: str = "1"
    supervision: Literal["none", "healthy", "masks"] = "healthy"
    tuning_labels: str = "unknown"
    seed: int = 0


def score_external(
    maps: Path, claim: Claim, store: Store, protocol: Protocol, root: Path, *, fresh: bool = False
) -> tuple[Record, Path]:
    """Scores a folder of maps and stores the result like a run, with verification ``reported``.

    Args:
        maps: ``calib/``, ``test/`` and optionally ``val/`` with one file per case or slice, or the test files alone.
        claim: Description of the system.
        store: The data.
        protocol: Rules of scoring.
        root: Folder under which ``<id>/`` is made.
        fresh: Whether to replace an entry with the same name, version and seed.

    Returns:
        The record and its folder.

    Raises:
        UserError: If the name is not allowed or such an entry is already stored.
        DataError: If files are missing, too many, of another shape, or hold NaN or infinite values.
    """
    check_system_name(claim.name)
    folders = _folders(maps)
    found = {role: match(folder, store.role(role)) for role, folder in folders.items()}
    job = _job(claim, store, protocol, complete=Role.CALIB in found)
    run = RunFolder(root / job.id)
    if run.record() is not None and not fresh:
        raise UserError(
            f"{claim.name} version {claim.version} seed {claim.seed} is already stored ({run.path}).",
            "Give another --version or --seed, or replace it with --fresh.",
        )
    records: list[Record] = []

    def write(path: Path) -> None:
        part = RunFolder(path)
        for role, files in found.items():
            store_maps(part.maps / role.value, store.role(role), files, store.manifest.intake)
        records.append(_score(claim, job, store, protocol, part))
        shutil.rmtree(run.path)  # last, so that bad files never destroy a stored entry

    with run.locked():
        try:
            atomic_write(run.path, write)
        finally:
            if not run.record_file.exists():
                shutil.rmtree(run.path, ignore_errors=True)
    return records[0], run.path


def _score(claim: Claim, job: Job, store: Store, protocol: Protocol, run: RunFolder) -> Record:
    evaluation, hashes = score_run(store, store, run, protocol, claim.seed, present_only=True)
    record = Record(
        id=job.id,
        seed=job.seed,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        status="done",
        method=job.method,
        dataset=job.dataset,
        protocol=job.protocol,
        metrics=evaluation.metrics,
        ledger=Ledger(
            threshold_labels=evaluation.threshold_labels,
            tuning_labels=claim.tuning_labels,
            checkpoint_rule="unknown",
            organ_masks_at_test=store.manifest.organ_masks,
            defaults_from="stated by whoever gave the maps",
        ),
        env=environment(torch.device("cpu"), PLAIN),
        hashes=hashes,
    )
    run.save_job(job)
    write_level(run.path / VERIFICATION, "reported")
    run.save_record(record)
    return record


def _job(claim: Claim, store: Store, protocol: Protocol, *, complete: bool) -> Job:
    data: DatasetPart = dataset_part(store)
    if not complete:
        data = data.model_copy(update={"ranked": False, "notes": [*data.notes, UNRANKED]})
    return Job(
        method=MethodPart(
            name=claim.name,
            label=claim.name,
            version=claim.version,
            supervision=claim.supervision,
            preset=EXTERNAL,
            config={},
        ),
        dataset=data,
        protocol=ProtocolPart(name=protocol.name, version=protocol.version, hash=protocol.hash),
        seed=claim.seed,
        precision="fp32",
    )


def _folders(maps: Path) -> dict[Role, Path]:
    """Returns the folder of each role: ``test/`` and others, or the folder itself if there is only test."""
    if not maps.is_dir():
        raise DataError(f"{maps} is not a folder.", "Check --maps.")
    inside = sorted(path.name for path in maps.iterdir() if path.is_dir() and not path.name.startswith("."))
    if not inside:
        return {Role.TEST: maps}
    known = {role.value for role in ROLES}
    if strange := [name for name in inside if name not in known]:
        raise DataError(f"{maps} holds the folder {strange[0]}.", f"Use only {', '.join(sorted(known))}.")
    if Role.TEST.value not in inside:
        raise DataError(f"{maps} has no folder test.", "Put the maps of the test cases there.")
    if loose := [file.name for file in visible(maps) if file.parent == maps]:
        raise DataError(f"{maps} holds {some(loose)} next to its folders.", "Move them into calib or test.")
    return {role: maps / role.value for role in ROLES if role.value in inside}
