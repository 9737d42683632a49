"""Checks a stored run: claims, hashes, every metric recomputed from the raw maps, and with ``rerun`` the maps.

Claims about the method are compared with the registered class, claims about the data with their manifest:
``record.json`` and ``config.yaml`` have the same author. Forged maps with consistent hashes pass all of this;
``rerun`` predicts again from the weights. What no file can prove is not checked: when and where a run was made, and
what it cost.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from uadbench.core.dataset import Progress
from uadbench.core.errors import DataError, JobFailed, UserError
from uadbench.core.record import IMPORTED, Isolation, Record
from uadbench.data.storage.folds import fold_folders
from uadbench.evaluation.protocol.protocol import load_protocol
from uadbench.evaluation.scoring.score import Evaluation
from uadbench.records.layout import (
    RECORD,
    SPEC,
    TABLES,
    VERIFICATION,
    Level,
    hash_files,
    needed_files,
    sha256_of,
    write_level,
)
from uadbench.runner.execution.isolated import isolation
from uadbench.runner.execution.ledger import make_ledger
from uadbench.runner.execution.run import build_method
from uadbench.runner.planning.plan import dataset_part
from uadbench.runner.scoring.pool_folds import pool_folds
from uadbench.runner.scoring.score_run import score_run
from uadbench.runner.storage.open_run import OpenRun, StoredRun, open_stored
from uadbench.runner.storage.run_folder import RunFolder
from uadbench.verification.check_record import compare_metrics
from uadbench.verification.claims import check_claims, earlier_rules, tuned_settings
from uadbench.verification.rerun import compare_fresh, compare_rerun


@dataclass(frozen=True)
class Verification:
    """Result of a verification.

    Attributes:
        level: Verification level reached.
        problems: One line each, naming file or field; empty if the run is valid.
        isolated: Isolation of the method in the rerun.
    """

    level: Level
    problems: list[str]
    isolated: Isolation = "none"


def verify_run(
    path: Path,
    source: str | None,
    test_source: str | None,
    progress: Progress,
    *,
    rerun: bool = False,
    isolated: bool = False,
    fresh_phantom: int | None = None,
) -> Verification:
    """Verifies a run and lists all errors.

    Args:
        path: Folder of the run, at any location.
        source: Prepared data of the run, None for the phantom.
        test_source: Its prepared test data.
        progress: Called while a phantom is simulated.
        rerun: Whether to predict again from the weights.
        isolated: Whether the rerun uses a child process that gets only images and body masks; the method is
            then also fitted again, because weights may contain what an earlier fit has read.
        fresh_phantom: Seed of another phantom on which the method is also fitted and scored; None for none.

    Raises:
        UserError: If the data have no phantom, or an option requires a rerun.
        DataError: If the run or its data cannot be read at all.
    """
    if (isolated or fresh_phantom is not None) and not rerun:
        raise UserError("--isolated and --fresh-phantom require --rerun.", "Add --rerun.")
    pooled = RunFolder(path).record()
    if pooled is not None and pooled.folds:
        if isolated or fresh_phantom is not None:
            raise UserError(f"{path} pools folds.", "Verify the run of each fold in isolation.")
        return _verify_folds(path, pooled, source, progress, rerun=rerun)
    stored = open_stored(path, source, test_source, progress)
    if earlier := earlier_rules(stored.record.protocol):
        again = f"uadbench evaluate --run {path.name} --protocol {stored.record.protocol.name}"
        return Verification("recomputed", [f"record.json: {earlier}: score its maps again ({again})"])
    if isolated and stored.record.ledger.checkpoint_rule == IMPORTED:
        raise DataError(f"{path} contains imported weights, which cannot be fitted again.", "Remove --isolated.")
    if fresh_phantom is not None and stored.record.ledger.checkpoint_rule == IMPORTED:
        raise DataError(f"{path} contains imported weights, which cannot be fitted again.", "Remove --fresh-phantom.")
    if rerun and stored.external:
        raise DataError(f"{path} contains maps of an external system.", "There are no weights to predict from.")
    problems = [*_compare_job(stored), *_check_data(stored), *_compare_hashes(stored)]
    # Scored before the method is looked up, so that importing a plug-in cannot affect the scorer.
    evaluation, found = _compare_scores(stored)
    problems += found
    claims = check_claims(stored.record)
    problems += claims.problems
    if claims.superseded:
        problems.append(f"record.json: {claims.superseded}: verify it with that version")
    level: Level = "rerun" if rerun else "recomputed"
    if evaluation is None or claims.problems or claims.superseded or stored.job.method != stored.record.method:
        return Verification(level, problems)
    tuned = None if stored.external else tuned_settings(stored.record.method, stored.record.dataset.name)
    run = stored.with_method(tuned)
    problems += [*_compare_spec(run), *_compare_ledger(run, evaluation)]
    if rerun:
        problems += compare_rerun(run, isolated=isolated)
    if fresh_phantom is not None:
        problems += compare_fresh(run, fresh_phantom, progress, isolated=isolated)
    return Verification(level, problems, isolation()[0] if isolated else "none")


def _verify_folds(path: Path, record: Record, source: str | None, progress: Progress, *, rerun: bool) -> Verification:
    """Verifies the run of every fold, in folders next to this one, and pools them again."""
    problems: list[str] = []
    stores = fold_folders(Path(source)) if source else []
    if len(stores) != len(record.folds):
        raise DataError(f"{path} pools {len(record.folds)} folds.", "Give the folder of the folds with --source.")
    runs = [path.parent / fold.record for fold in record.folds]
    for number, (run, store) in enumerate(zip(runs, stores, strict=True), 1):
        found = verify_run(run, str(store), None, progress, rerun=rerun)
        problems += [f"fold {number}: {problem}" for problem in found.problems]
    with tempfile.TemporaryDirectory() as scratch:
        again, folder = pool_folds(runs, Path(scratch))
        problems += compare_metrics(again.metrics, record.metrics, "folds give")
        for key in ("id", "method", "dataset", "protocol", "seed", "ledger", "cost", "hashes", "folds"):
            if getattr(again, key) != getattr(record, key):
                problems.append(f"record.json: {key} differs from that of the folds")
        for name in again.hashes:
            if sha256_of(folder / name) != (sha256_of(path / name) if (path / name).exists() else ""):
                problems.append(f"{name}: it differs from that of the folds")
        made_up = sorted(record.metrics.keys() - again.metrics.keys())
        problems += [f"record.json: metric {key} is not one of folds" for key in made_up]
    return Verification("rerun" if rerun else "recomputed", problems)


def compare_exported(record_file: Path, run: Path) -> list[str]:
    """Compares an exported record and its tables with the run; returns the differences.

    Raises:
        DataError: If one of the two cannot be read.
    """
    try:
        exported = Record.model_validate_json(record_file.read_bytes())
    except (OSError, ValueError) as error:
        raise DataError(f"{record_file} is not a record.", "Give a run's folder or a record.") from error
    stored = RunFolder(run).record()
    if stored is None:
        raise DataError(
            f"The run {run} of {record_file.name} does not exist.",
            "Give its parent folder with --runs.",
        )
    problems: list[str] = []
    ours, theirs = stored.model_dump(), exported.model_dump()
    problems += [f"{record_file.name}: {key} is not that of the run" for key in ours if ours[key] != theirs[key]]
    for name in TABLES:
        file = record_file.with_name(f"{record_file.stem}.{name}")
        if file.exists() and sha256_of(file) != stored.hashes.get(name):
            problems.append(f"{file.name}: it is not that of the run")
    return problems


def note_level(folder: Path, level: Level, isolated: Isolation = "none") -> Level:
    """Writes the verification level next to a record, outside its hash; returns the highest valid level.

    Args:
        folder: Folder of the run.
        level: The level just shown.
        isolated: How far the method was kept apart while it was rerun.
    """
    file, record = folder / VERIFICATION, sha256_of(folder / RECORD)
    try:
        before = json.loads(file.read_text())
    except (OSError, ValueError):
        before = {}
    # A rerun remains valid as long as the record is unchanged.
    if isinstance(before, dict) and before.get("level") == "rerun" and before.get("record") == record:
        level = "rerun"
        isolated = isolated if isolated != "none" else before.get("isolated", "none")
    write_level(file, level, record, isolated=isolated)
    return level


def _compare_job(run: StoredRun) -> list[str]:
    """Compares the record with the job in config.yaml, whose hash is the id."""
    record, job = run.record, run.job
    problems: list[str] = []
    if job.id != record.id:
        problems.append("config.yaml: it does not hash to the id in record.json")
    for name in ("method", "seed", "dataset", "test_on", "protocol"):
        if getattr(record, name) != getattr(job, name):
            problems.append(f"record.json: {name} is not that of config.yaml")
    rules = load_protocol(record.protocol.name)
    if (rules.hash, rules.version) != (record.protocol.hash, record.protocol.version):
        problems.append(f"record.json: protocol {record.protocol.name} has other rules than the file of that name")
    for claimed, store in ((record.dataset, run.train), (record.test_on, run.test)):
        if claimed is None:
            continue
        ours, theirs = dataset_part(store).model_dump(), claimed.model_dump()
        # An external system with only test maps is unranked, whatever the data.
        loose = {"notes", "ranked"} if run.external and not claimed.ranked else set[str]()
        problems += [
            f"record.json: dataset.{name} is {str(theirs[name])[:60]}, the data's manifest has {value}"
            for name, value in ours.items()
            if name not in loose and theirs[name] != value
        ]
    return problems


def _check_data(run: StoredRun) -> list[str]:
    problems: list[str] = []
    for store in {store.path: store for store in (run.train, run.test)}.values():
        try:
            store.verify()
        except DataError as error:
            problems.append(f"data: {error.message}")
    return problems


def _compare_hashes(run: StoredRun) -> list[str]:
    found, known = hash_files(run.folder.path), run.record.hashes
    problems: list[str] = []
    needed = needed_files(run.record)
    for name in sorted({*found, *known, *needed}):
        if name == SPEC and name not in needed and name not in known:
            continue
        if name not in found or found.get(name) != known.get(name):
            state = "missing" if name not in found else "changed" if name in known else "not listed in record.json"
            problems.append(f"{name}: {state}")
    return problems


def _compare_spec(run: OpenRun) -> list[str]:
    if SPEC not in run.record.hashes:
        return []
    try:
        same = json.loads((run.folder.path / SPEC).read_bytes()) == asdict(run.plan.spec)
    except (OSError, ValueError, RecursionError):
        same = False
    return [] if same else [f"{SPEC}: it is not the shape of the data and of the config"]


def _compare_scores(run: StoredRun) -> tuple[Evaluation | None, list[str]]:
    """Scores the maps again and compares metrics and tables; reports maps that cannot be scored."""
    record = run.record
    with tempfile.TemporaryDirectory() as scratch:
        target = RunFolder(Path(scratch))
        target.maps = run.folder.maps
        rules = load_protocol(record.protocol.name)
        try:
            evaluation, hashes = score_run(
                run.train, run.test, target, rules, run.job.seed, present_only=run.external, picture=False
            )
        except (DataError, ValueError, OSError, EOFError) as error:
            return None, [f"maps: they cannot be scored ({error})"]
    problems = compare_metrics(evaluation.metrics, record.metrics, "maps give")
    for key in sorted(record.metrics.keys() - evaluation.metrics.keys()):
        problems.append(f"record.json: metric {key} is not one of the protocol's")
    hint = "if an older version wrote it: uadbench evaluate --in-place"
    missing = sorted(evaluation.metrics.keys() - record.metrics.keys())
    if missing:
        problems.append(f"record.json: missing metrics: {', '.join(missing)} ({hint})")
    for name in TABLES:
        # Records of older versions list fewer tables.
        if name in record.hashes and hashes[name] != record.hashes[name]:
            problems.append(f"{name}: it differs from that of the maps ({hint})")
    return evaluation, problems


def _compare_ledger(run: OpenRun, evaluation: Evaluation) -> list[str]:
    if run.external:
        labels = run.record.ledger.threshold_labels
        return [] if labels == evaluation.threshold_labels else ["record.json: ledger.threshold_labels is not right"]
    try:
        method = build_method(run.plan, torch.device("cpu"))
    except (UserError, JobFailed, OSError) as error:  # for example missing pretrained weights
        return [f"config.yaml: the method cannot be built here ({error})"]
    ours = make_ledger(run.plan, int(getattr(method, "polarity", 0)), evaluation.threshold_labels).model_dump()
    theirs = run.record.ledger.model_dump()
    problems = [
        f"record.json: ledger.{name} is {theirs[name]}, the job gives {value}"
        for name, value in ours.items()
        if theirs[name] != value and not (name == "defaults_from" and run.record.schema_version == 1)
    ]
    parameters = sum(value.numel() for value in method.state_dict().values() if value.is_floating_point())
    if run.record.cost is not None and run.folder.weights_file.exists():
        saved = run.folder.load_weights()
        try:
            method.load_state_dict(saved)
        except (RuntimeError, KeyError, ValueError, TypeError, AttributeError):
            problems.append(f"weights.safetensors: they are not weights of {run.record.method.name} with this config")
        parameters = sum(value.numel() for value in saved.values() if value.is_floating_point())
        if run.record.cost.parameters != parameters:
            problems.append(
                f"record.json: cost.parameters is {run.record.cost.parameters}, the weights have {parameters}"
            )
    return problems
