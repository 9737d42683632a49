"""Checks a stored run: hashes first, then every metric anew from the raw maps, with ``rerun`` the maps as well.

A forgery that is re-hashed throughout passes the first two; ``rerun`` predicts again from the weights.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import yaml

from uadbench.core.catalog import METHODS
from uadbench.core.config import MethodConfig
from uadbench.core.dataset import Progress
from uadbench.core.errors import DataError
from uadbench.core.record import DatasetPart, Record, stable_hash
from uadbench.data.store import Store
from uadbench.evaluation.protocol import load_protocol
from uadbench.runner.folder import RunFolder
from uadbench.runner.job import Job
from uadbench.runner.outside import OUTSIDE
from uadbench.runner.plan import Plan
from uadbench.runner.run import build_method, predict_roles
from uadbench.runner.scoring import hash_files, score_run
from uadbench.runner.sources import open_source

# Maps of another machine's kernels agree to this relative tolerance in fp32 (docs/protocol.md).
RTOL, ATOL = 1e-4, 1e-5


@dataclass(frozen=True)
class Verification:
    """What a verification found.

    Attributes:
        level: How far it went.
        problems: One line each; empty if the run holds.
    """

    level: Literal["recomputed", "rerun"]
    problems: list[str]


def open_run(
    path: Path, source: str | None, test_source: str | None, progress: Progress
) -> tuple[RunFolder, Record, Plan]:
    """Opens a run with the data it was made on.

    Raises:
        DataError: If it is no finished run, or the data are not the same.
    """
    folder = RunFolder(path)
    record = folder.record()
    if record is None or record.status != "done":
        raise DataError(f"{path} holds no finished run.", "Give the folder runs/ID of a run that ended.")
    try:
        job = Job.model_validate(yaml.safe_load((path / "config.yaml").read_text()))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise DataError(f"{path}/config.yaml is missing or damaged.", "Run again with --fresh.") from error
    train = _open(job.dataset, source, progress)
    test = _open(job.test_on, test_source, progress) if job.test_on else train
    outside = job.method.preset == OUTSIDE
    config = MethodConfig() if outside else METHODS.load(job.method.name).config_type.model_validate(job.method.config)
    return folder, record, Plan(job, config, train, test)


def rescore(
    path: Path, protocol: str, source: str | None, test_source: str | None, progress: Progress
) -> tuple[Record, Path]:
    """Scores the stored maps under a protocol, into ``<run>/rescored/<protocol>/``; the run itself stays as it is."""
    folder, record, plan = open_run(path, source, test_source, progress)
    rules = load_protocol(protocol)
    part = record.protocol.model_copy(update={"name": rules.name, "version": rules.version, "hash": rules.hash})
    target = RunFolder(path / "rescored" / protocol)
    target.path.mkdir(parents=True, exist_ok=True)
    target.maps = folder.maps
    evaluation, hashes = score_run(plan.train, plan.test, target, rules, plan.job.seed, present_only=_outside(record))
    job = plan.job.model_copy(update={"protocol": part})
    again = record.model_copy(
        update={
            "id": Job.model_validate(job.model_dump()).id,
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "protocol": part,
            "metrics": evaluation.metrics,
            "ledger": record.ledger.model_copy(update={"threshold_labels": evaluation.threshold_labels}),
            "hashes": {**record.hashes, **hashes},
        }
    )
    target.write_text("record.json", again.model_dump_json(indent=1))
    return again, target.path


def verify_run(
    path: Path, source: str | None, test_source: str | None, progress: Progress, *, rerun: bool = False
) -> Verification:
    """Verifies a run and names everything that does not hold.

    Raises:
        DataError: If the run cannot be read at all.
    """
    folder, record, plan = open_run(path, source, test_source, progress)
    if rerun and _outside(record):
        raise DataError(f"{path} holds maps of an outside system.", "There are no weights to predict from.")
    problems: list[str] = []
    if plan.job.id != record.id:
        problems.append("config.yaml: it does not hash to the record's id")
    if stable_hash([record.method.model_dump(), record.seed]) != stable_hash(
        [plan.job.method.model_dump(), plan.job.seed]
    ):
        problems.append("record.json: method, config or seed differ from config.yaml")
    for name in ("dataset", "test_on", "protocol"):
        if getattr(record, name) != getattr(plan.job, name):
            problems.append(f"record.json: {name} differs from config.yaml")
    if load_protocol(record.protocol.name).hash != record.protocol.hash:
        problems.append(f"protocol {record.protocol.name}: its rules have changed since")
    for store in (plan.train, plan.test):
        try:
            store.verify()
        except DataError as error:
            problems.append(error.message)
    found = hash_files(path)
    for name in sorted({*found, *record.hashes}):
        if found.get(name) != record.hashes.get(name):
            state = "missing" if name not in found else "changed" if name in record.hashes else "not in the record"
            problems.append(f"{name}: {state}")
    problems += _compare_metrics(folder, record, plan)
    if rerun:
        problems += _compare_maps(folder, plan)
    return Verification("rerun" if rerun else "recomputed", problems)


def _outside(record: Record) -> bool:
    return record.method.preset == OUTSIDE


def _open(part: DatasetPart, source: str | None, progress: Progress) -> Store:
    if source is None and part.source != "phantom":
        raise DataError(f"The run used prepared data of {part.name}.", "Name the folder with --source.")
    store = open_source(part.name, source or "phantom", progress)
    if store.manifest.fingerprint != part.fingerprint:
        raise DataError(
            f"{part.name} has fingerprint {store.manifest.fingerprint[:16]}, the run was made on "
            f"{part.fingerprint[:16]}.",
            "Use the same version of the data.",
        )
    return store


def _compare_metrics(folder: RunFolder, record: Record, plan: Plan) -> list[str]:
    with tempfile.TemporaryDirectory() as scratch:
        target = RunFolder(Path(scratch))
        target.maps = folder.maps
        try:
            rules = load_protocol(record.protocol.name)
            evaluation, hashes = score_run(
                plan.train, plan.test, target, rules, record.seed, present_only=_outside(record)
            )
        except (DataError, ValueError) as error:
            return [f"maps: they cannot be scored ({error})"]
    problems: list[str] = []
    for key in sorted({*evaluation.metrics, *record.metrics}):
        ours, theirs = evaluation.metrics.get(key), record.metrics.get(key)
        if ours is None or theirs is None or not _close(ours.model_dump(), theirs.model_dump()):
            problems.append(f"record.json: metric {key} is not what the maps give")
    if hashes["cases.csv"] != record.hashes.get("cases.csv"):
        problems.append("cases.csv: it is not what the maps give")
    return problems


def _close(ours: dict[str, object], theirs: dict[str, object]) -> bool:
    for name, value in ours.items():
        other = theirs[name]
        if isinstance(value, float) and isinstance(other, float):
            if not np.isclose(value, other, rtol=1e-6, atol=1e-9):
                return False
        elif value != other:
            return False
    return True


def _compare_maps(folder: RunFolder, plan: Plan) -> list[str]:
    device = torch.device("cpu")
    method = build_method(plan, device)
    method.load_state_dict(folder.load_weights())
    problems: list[str] = []
    with tempfile.TemporaryDirectory() as scratch:
        predict_roles(method, plan, Path(scratch), device, None)
        for part in sorted(Path(scratch).glob("*")):
            ours = np.load(part / "maps.npy", mmap_mode="r")
            theirs = np.load(folder.maps / part.name / "maps.npy", mmap_mode="r")
            if ours.shape != theirs.shape or not np.allclose(ours, theirs, rtol=RTOL, atol=ATOL):
                problems.append(f"maps/{part.name}: the weights give other maps")
    return problems
