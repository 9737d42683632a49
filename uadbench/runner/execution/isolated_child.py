"""The child of an isolated run: fits or predicts with access only to the copied images.

``python -m uadbench.runner.execution.isolated_child fit|predict|probe LENT WORK``. It is a separate program; only the
names of its files and ``Order`` are shared with the parent, which trusts nothing in them.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from rich.console import Console

from uadbench.core.catalog import METHODS
from uadbench.core.errors import JobFailed, UserError
from uadbench.core.method import Method
from uadbench.core.numerics import Numerics
from uadbench.core.types import ImageSpec
from uadbench.data.storage.batches import StoreBatches
from uadbench.records.environment import peak_gb
from uadbench.runner.execution.allocator import keep_memory
from uadbench.runner.execution.compiling import compile_networks, compile_notes
from uadbench.runner.execution.fit import fit_method
from uadbench.runner.execution.fit_context import RunFitContext
from uadbench.runner.execution.fixed_batch import FixedBatchPredictor
from uadbench.runner.execution.lent_data import LentData
from uadbench.runner.execution.order import FAILED, FIT, ORDER, PREDICT, PROBE, RESULT, Order, Outcome
from uadbench.runner.execution.predictions import predict_items
from uadbench.runner.execution.probe import fastest
from uadbench.runner.execution.seeded import build_seeded
from uadbench.runner.progress.bars import stage_bar
from uadbench.runner.storage.run_folder import RunFolder


def main(phase: str, lent: Path, work: Path) -> int:
    """Runs one phase and returns the exit status."""
    keep_memory()
    order = Order.model_validate_json((lent / ORDER).read_bytes())
    torch.set_num_threads(order.threads)
    try:
        config = METHODS.load(order.method).config_type.model_validate(order.config)
        method = build_seeded(order.method, config, ImageSpec(**order.spec), order.seed).to(torch.device(order.device))
        numerics = Numerics.parse(order.numerics)
        compile_networks(method, numerics)
        outcome = PHASES[phase](method, order, lent, work)
        outcome = outcome.model_copy(update={"notes": [*outcome.notes, *compile_notes(method, numerics)]})
    except (JobFailed, UserError) as error:
        (work / FAILED).write_text(str(error))
        return 1
    (work / RESULT).write_text(outcome.model_dump_json())
    return 0


def _fit(method: Method, order: Order, lent: Path, work: Path) -> Outcome:
    device, folder = torch.device(order.device), RunFolder(work)
    context = RunFitContext(
        folder,
        order.seed,
        device,
        Numerics.parse(order.numerics),
        _console(order),
        order.checkpoint_seconds,
        what=order.title,
        later=order.later,
    )
    data = {path.name: LentData(path) for path in lent.iterdir() if path.is_dir()}
    spec = ImageSpec(**order.spec)
    train, calib = (StoreBatches(data[name], data[name].items, spec) for name in ("train", "calib"))
    labelled = None
    if "labelled" in data:
        labelled = StoreBatches(data["labelled"], data["labelled"].items, spec, masks=True)
    fit_method(method, train, calib, context, labelled)
    folder.save_weights(method.state_dict())
    return Outcome(seconds=context.train_seconds, peak_gb=peak_gb(device))


def _predict(method: Method, order: Order, lent: Path, work: Path) -> Outcome:
    device, spec = torch.device(order.device), ImageSpec(**order.spec)
    method.load_state_dict(RunFolder(lent).load_weights())
    console = _console(order)
    say = console.print if console else None
    numerics = Numerics.parse(order.numerics)
    predict = FixedBatchPredictor(method, order.seed, order.batch, device, say, numerics=numerics)
    began = time.monotonic()
    parts = {path.name: LentData(path) for path in sorted(lent.iterdir()) if path.is_dir()}
    with stage_bar(console, order.title, sum(len(data.items) for data in parts.values())) as bar:
        for name, data in parts.items():
            predict_items(predict, StoreBatches(data, data.items, spec), work / name, bar.advance)
    seconds = time.monotonic() - began
    return Outcome(seconds=seconds, peak_gb=peak_gb(device), notes=predict.notes)


def _probe(method: Method, order: Order, lent: Path, work: Path) -> Outcome:
    """Finds the fastest numerics; the input folder contains no images."""
    del lent, work
    device, kind = torch.device(order.device), METHODS.load(order.method)
    config = kind.config_type.model_validate(order.config)
    del method
    began = time.monotonic()
    found = fastest(kind.build, config, ImageSpec(**order.spec), device)
    return Outcome(seconds=time.monotonic() - began, peak_gb=peak_gb(device), numerics=str(found))


PHASES: dict[str, Callable[[Method, Order, Path, Path], Outcome]] = {FIT: _fit, PREDICT: _predict, PROBE: _probe}


def _console(order: Order) -> Console | None:
    return Console(stderr=True) if order.title else None


if __name__ == "__main__":
    if sys.argv[1] not in PHASES:
        sys.exit(2)
    sys.exit(main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])))
