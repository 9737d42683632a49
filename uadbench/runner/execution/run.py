"""Runs a job: fit, predict, score, store. An interrupted run resumes."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from uadbench.core.catalog import METHODS
from uadbench.core.config import is_result
from uadbench.core.errors import DataError, JobFailed, imported_only
from uadbench.core.job import Compile
from uadbench.core.method import Method
from uadbench.core.numerics import PLAIN, Numerics
from uadbench.core.record import Cost, Isolation, Record
from uadbench.core.roles import Role
from uadbench.data.storage.batches import StoreBatches
from uadbench.evaluation.protocol.protocol import load_protocol
from uadbench.records.environment import environment, peak_gb
from uadbench.runner.execution.allocator import keep_memory
from uadbench.runner.execution.compiling import as_computed, compile_networks, compile_notes, with_compile
from uadbench.runner.execution.device import pick_device
from uadbench.runner.execution.fit import fit_on_store
from uadbench.runner.execution.fit_context import RunFitContext
from uadbench.runner.execution.fixed_batch import FixedBatchPredictor
from uadbench.runner.execution.isolated import Isolated, isolation, take_weights
from uadbench.runner.execution.ledger import labelled_items, make_ledger
from uadbench.runner.execution.order import FIT, PREDICT, Outcome
from uadbench.runner.execution.predictions import predict_items
from uadbench.runner.execution.probe import Build, pick_numerics
from uadbench.runner.execution.seeded import build_seeded
from uadbench.runner.execution.shared_fit import SharedFit
from uadbench.runner.planning.plan import Plan
from uadbench.runner.progress.bars import stage_bar
from uadbench.runner.progress.later_stages import EXPORTED, prediction_share
from uadbench.runner.scoring.score_run import score_run, scored_parts
from uadbench.runner.storage.run_folder import RunFolder
from uadbench.runner.tracking.tracker import Tracking, Watcher

CHILD = "isolated"
SCORE = "score"
STAGES = {FIT: ("1/3", "training"), PREDICT: ("2/3", "predicting"), SCORE: ("3/3", "calibrating and scoring")}


@dataclass(frozen=True)
class _Execution:
    """A plan in progress, with its device and folder."""

    plan: Plan
    folder: RunFolder
    device: torch.device
    numerics: Numerics
    console: Console | None
    checkpoint_seconds: float
    before_fit: Callable[[Numerics], None] | None = None
    watcher: Watcher | None = None
    what: str = ""

    def title(self, stage: str) -> str:
        """Text of a progress bar: number, stage and job."""
        number, doing = STAGES[stage]
        return f"{number} {self.what}: {doing}" if self.what else f"{number} {doing} {self.plan.job.method.name}"

    def later(self) -> float | None:
        """Seconds of prediction for each second of training, if progress is drawn and a stored run tells it."""
        return None if self.console is None else prediction_share(self.plan, (EXPORTED, self.folder.path.parent))

    def shared_fit(self, isolation: str = "") -> SharedFit:
        """The fit, shared only by runs that isolate the method in the same way."""
        parts = [self.plan.fit_key, self.numerics.key, isolation]
        return SharedFit(self.folder, "-".join(part for part in parts if part))

    @property
    def seed(self) -> int:
        return self.plan.job.seed


def execute(
    plan: Plan,
    *,
    root: Path,
    device: str = "auto",
    fresh: bool = False,
    console: Console | None = None,
    checkpoint_seconds: float = 30.0,
    before_fit: Callable[[Numerics], None] | None = None,
    tracking: Tracking | None = None,
    what: str = "",
    isolated: bool = False,
    compiling: Compile = "auto",
) -> tuple[Record, Path, bool]:
    """Runs a plan, or returns the stored result.

    Args:
        plan: What to run.
        root: Folder under which ``<id>/`` is made.
        device: auto, cpu or cuda.
        fresh: Redo it from the start.
        console: Where progress is drawn; None for silence.
        checkpoint_seconds: Least time between checkpoints.
        before_fit: Called with the numerics if a fit is due: processes that train along wait for it.
        tracking: Tracker that is told of the run, and of a stored one if it does not know it.
        what: What progress bars call the job, "" for the method's name.
        isolated: Whether the method runs in a child process that gets images and body masks alone. The job and its
            numbers are the same; the record says how far the child was kept apart.
        compiling: Whether networks are called through torch.compile; a run that goes on keeps what it began with.

    Returns:
        The record, the run's folder, and whether it was already stored.

    Raises:
        UserError: If its weights must be imported and are missing.
        JobFailed: If it failed; the record with the reason is stored.
    """
    keep_memory()
    folder = RunFolder(root / plan.job.id)
    if plan.config.imported and (fresh or not folder.weights_file.exists()):
        raise imported_only(plan.config.imported)
    with folder.locked(fresh=fresh), nullcontext() if tracking is None else tracking.watching(plan.job) as watcher:
        stored = folder.record()
        if stored is not None and stored.status == "done":
            if watcher is not None and not watcher.told_before:
                watcher.finish(stored, folder.path)
            return stored, folder.path, True
        target = pick_device(device)
        numerics = _numerics(plan, folder, target, compiling, isolated=isolated)
        execution = _Execution(plan, folder, target, numerics, console, checkpoint_seconds, before_fit, watcher, what)
        folder.save_job(plan.job)
        # Shape and polarity, from which `predict` builds the method without the data.
        folder.write_text("spec.json", json.dumps(asdict(plan.spec)))
        folder.write_text("new_images.json", json.dumps(_for_new_images(plan)))
        failure: JobFailed | None = None
        try:
            record = (_execute_isolated if isolated else _execute)(execution, fresh=fresh)
        except JobFailed as error:
            record, failure = _record(execution, status="failed", reason=str(error)), error
        folder.save_record(record)
        if watcher is not None:
            watcher.finish(record, folder.path)
        if failure is not None:
            raise failure
        folder.drop_checkpoints()
        shutil.rmtree(folder.path / CHILD, ignore_errors=True)
        return record, folder.path, False


def build_method(plan: Plan, device: torch.device) -> Method:
    """Builds the untrained method; its initial weights depend only on the seed."""
    return build_seeded(plan.job.method.name, plan.config, plan.spec, plan.job.seed).to(device)


def predict_roles(
    method: Method,
    plan: Plan,
    maps: Path,
    device: torch.device,
    numerics: Numerics,
    console: Console | None,
    what: str = "predicting",
) -> tuple[int, list[str]]:
    """Predicts every scored part and writes ``maps/<part>``.

    Returns:
        The number of images, and notes for the record: whether memory forced a smaller batch.

    Raises:
        OutOfMemory: If even a halved batch does not fit.
    """
    parts = scored_parts(plan.train, plan.test)
    total = sum(len(items) for _, items in parts.values())
    shown = console or Console(quiet=True)
    predict = FixedBatchPredictor(
        method, plan.job.seed, plan.config.predict_batch, device, shown.print, numerics=numerics
    )
    with stage_bar(console, what, total) as bar:
        for name, (pixels, items) in parts.items():
            predict_items(predict, StoreBatches(pixels, items, plan.spec), maps / name, bar.advance)
    return total, predict.notes


def _execute(run: _Execution, *, fresh: bool) -> Record:
    plan, folder = run.plan, run.folder
    method = build_method(plan, run.device)
    compile_networks(method, run.numerics)
    train_seconds = _fit(method, run, reuse=not fresh)
    began = time.monotonic()
    images, notes = predict_roles(method, plan, folder.maps, run.device, run.numerics, run.console, run.title(PREDICT))
    seconds = time.monotonic() - began
    notes += compile_notes(method, run.numerics)
    rules = load_protocol(plan.job.protocol.name)
    with nullcontext() if run.console is None else run.console.status(run.title(SCORE)):
        evaluation, hashes = score_run(plan.train, plan.test, folder, rules, run.seed)
    cost = Cost(
        train_s=round(train_seconds, 3),
        predict_ms_per_image=round(1000 * seconds / images, 3),
        peak_gb=round(peak_gb(run.device), 3),
        parameters=sum(value.numel() for value in method.state_dict().values() if value.is_floating_point()),
        train_images_seen=plan.config.images_seen,
    )
    ledger = make_ledger(plan, int(getattr(method, "polarity", 0)), evaluation.threshold_labels)
    return _record(run, status="done", metrics=evaluation.metrics, ledger=ledger, cost=cost, hashes=hashes, notes=notes)


def _execute_isolated(run: _Execution, *, fresh: bool) -> Record:
    """Like ``_execute``, with the method in a child process; it is built here only after its maps are scored."""
    plan, folder = run.plan, run.folder
    kind, why = isolation()
    child = Isolated(
        plan,
        run.device.type,
        run.numerics,
        hidden=[folder.path.parent],
        titles={} if run.console is None else {FIT: run.title(FIT), PREDICT: run.title(PREDICT)},
        later=run.later(),
        checkpoint_seconds=run.checkpoint_seconds,
    )
    fitted = _fit_isolated(child, run, kind, reuse=not fresh)
    state = folder.load_weights()
    parts = scored_parts(plan.train, plan.test)
    predicted = child.predict(folder.weights_file, parts, folder.maps)
    images = sum(len(items) for _, items in parts.values())
    with nullcontext() if run.console is None else run.console.status(run.title(SCORE)):
        evaluation, hashes = score_run(plan.train, plan.test, folder, load_protocol(plan.job.protocol.name), run.seed)
    cost = Cost(
        train_s=round(fitted.seconds, 3),
        predict_ms_per_image=round(1000 * predicted.seconds / images, 3),
        peak_gb=round(max(fitted.peak_gb, predicted.peak_gb), 3),
        parameters=sum(value.numel() for value in state.values() if value.is_floating_point()),
        train_images_seen=plan.config.images_seen,
    )
    method = build_method(plan, torch.device("cpu"))
    ledger = make_ledger(plan, int(getattr(method, "polarity", 0)), evaluation.threshold_labels)
    notes = [*fitted.notes, *predicted.notes, *([f"isolated without a namespace: {why}"] if why else [])]
    record = _record(
        run, status="done", metrics=evaluation.metrics, ledger=ledger, cost=cost, hashes=hashes, notes=notes
    )
    return record.model_copy(update={"env": record.env.model_copy(update={"isolated": kind})})


def _fit(method: Method, run: _Execution, *, reuse: bool) -> float:
    """Fits the method, or loads the weights of this run or of a run with the same fit; returns training seconds."""
    plan, folder = run.plan, run.folder
    fit = run.shared_fit()
    held = reuse and fit.take()
    if folder.weights_file.exists():
        method.load_state_dict(folder.load_weights())
        if not held:  # killed between weights and pointer
            fit.offer()
        return fit.seconds
    if run.before_fit is not None:
        run.before_fit(run.numerics)
    context = RunFitContext(
        folder,
        run.seed,
        run.device,
        run.numerics,
        run.console,
        run.checkpoint_seconds,
        track=None if run.watcher is None else run.watcher.step,
        what=run.title(FIT),
        later=run.later(),
    )
    fit_on_store(method, plan.train, plan.spec, plan.config, run.seed, context)
    fit.note_seconds(context.train_seconds)
    folder.save_weights(method.state_dict())
    fit.offer()
    return fit.seconds


def _fit_isolated(child: Isolated, run: _Execution, kind: Isolation, *, reuse: bool) -> Outcome:
    """Fits the method in its child, or takes the weights of a run whose method was fitted in such a child."""
    fit = run.shared_fit(kind)
    if reuse and fit.take():
        return Outcome(seconds=fit.seconds, peak_gb=0.0)
    fitted = child.fit(labelled_items(run.plan), run.folder.path / CHILD)
    fit.note_seconds(fitted.seconds)
    take_weights(run.folder.path / CHILD, run.folder)
    fit.offer()
    return fitted


def _numerics(plan: Plan, folder: RunFolder, device: torch.device, compiling: Compile, *, isolated: bool) -> Numerics:
    """Returns how to compute; what ``auto`` picked once is kept when the run is resumed or made again."""
    file = folder.path / "numerics.txt"
    if not file.exists():
        child = Isolated(plan, device.type, PLAIN, hidden=[folder.path.parent])
        found = numerics_of(plan, device, child.probe if isolated else None)
        folder.write_text(file.name, str(with_compile(found, compiling)))
    try:
        return Numerics.parse(file.read_text())
    except (OSError, ValueError) as error:
        raise DataError(f"{file} is damaged: {error}.", "Run again with --fresh.") from error


def numerics_of(plan: Plan, device: torch.device, probe: Callable[[], Numerics] | None = None) -> Numerics:
    """Resolves the precision of a job on a device; ``auto`` is probed only for runs that count as results.

    Args:
        plan: The job.
        device: Device of the run.
        probe: Probe for ``auto``, if not in this process.
    """
    wanted, name = plan.job.precision, plan.job.method.name
    if wanted == "auto" and not is_result(plan.job.method.preset):
        return PLAIN
    build: Build = METHODS.load(name).build
    return pick_numerics(wanted, build, plan.config, plan.spec, device, probe=probe)


def _record(run: _Execution, *, notes: Sequence[str] = (), **parts: Any) -> Record:
    job = run.plan.job
    return Record(
        id=job.id,
        seed=job.seed,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        method=job.method,
        dataset=job.dataset,
        test_on=job.test_on,
        protocol=job.protocol,
        env=environment(run.device, as_computed(run.numerics, notes), notes),
        **parts,
    )


def _for_new_images(plan: Plan) -> dict[str, Any]:
    """Returns what `predict` needs from the store: its scale, and which calibration images form a case."""
    intake = plan.train.manifest.intake
    numbers: dict[str, int] = {}
    cases = [numbers.setdefault(item.case, len(numbers)) for item in plan.train.role(Role.CALIB)]
    return {"intake": None if intake is None else intake.model_dump(mode="json"), "calib_cases": cases}
