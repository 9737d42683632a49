"""Reruns the method of a stored run: from its weights, from scratch, and on a phantom with another seed."""

from __future__ import annotations

import inspect
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from scipy.stats import t

from uadbench.core.catalog import DATASETS
from uadbench.core.dataset import Progress
from uadbench.core.errors import DataError, UserError
from uadbench.core.record import Metric
from uadbench.data.reading.npy import map_npy
from uadbench.data.storage.store import Store
from uadbench.evaluation.protocol.protocol import load_protocol
from uadbench.records.environment import recorded_numerics
from uadbench.records.layout import sha256_of
from uadbench.runner.execution.compiling import compile_networks
from uadbench.runner.execution.fit import fit_on_store
from uadbench.runner.execution.fit_context import RunFitContext
from uadbench.runner.execution.isolated import Isolated, take_weights
from uadbench.runner.execution.ledger import labelled_items
from uadbench.runner.execution.run import build_method, predict_roles
from uadbench.runner.planning.plan import Plan
from uadbench.runner.scoring.score_run import score_run, scored_parts
from uadbench.runner.storage.open_run import OpenRun
from uadbench.runner.storage.run_folder import RunFolder
from uadbench.verification.check_record import read_cases

# Results of different machines agree to these tolerances in fp32 (docs/protocol.md); reconstructions are
# stored in half precision.
TOLERANCES = {"maps.npy": (1e-4, 1e-5), "scores.npy": (1e-4, 1e-5), "reconstruction.npy": (1e-3, 2e-3)}
KEY = "case_ap"


def compare_rerun(run: OpenRun, *, isolated: bool) -> list[str]:
    """Predicts again from the weights and compares all outputs; if isolated, the method is also fitted again."""
    device = torch.device("cpu")
    with tempfile.TemporaryDirectory() as scratch:
        maps = Path(scratch)
        if isolated:
            parts = scored_parts(run.plan.train, run.plan.test)
            _apart(run.plan, run).predict(run.folder.weights_file, parts, maps)
        else:
            method = build_method(run.plan, device)
            compile_networks(method, recorded_numerics(run.record.env))
            method.load_state_dict(run.folder.load_weights())
            predict_roles(method, run.plan, maps, device, recorded_numerics(run.record.env), None)
        problems = [
            f"maps/{name}: the weights give different ones"
            for name in sorted(file.relative_to(maps).as_posix() for file in maps.glob("*/*.npy"))
            if not _same(maps / name, run.folder.maps / name)
        ]
    return [*problems, *_compare_fit(run)] if isolated else problems


def compare_fresh(run: OpenRun, seed: int, progress: Progress, *, isolated: bool) -> list[str]:
    """Fits and scores the method on a phantom with another seed, to detect memorisation of the public one.

    Raises:
        UserError: If the run does not use a single phantom.
    """
    part = run.record.dataset
    if part.source != "phantom" or run.record.test_on is not None:
        raise UserError(f"The run does not use only the phantom of {part.name}.", "Remove --fresh-phantom.")
    maker = DATASETS.load(part.name)()
    if "seed" not in inspect.signature(maker.make_phantom).parameters:
        raise UserError(f"The phantom of {part.name} takes no seed.", "Remove --fresh-phantom.")
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / "store"
        maker.make_phantom(out, progress, seed)
        store = Store(out)
        plan = replace(run.plan, train=store, test=store)
        found = _refit(run, plan, RunFolder(Path(scratch) / "run"), isolated=isolated)
    return _below(found, _claimed(run), f"a phantom of seed {seed}")


def _compare_fit(run: OpenRun) -> list[str]:
    """Fits again; different kernels give different weights, so the metric is compared if the weights differ."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = RunFolder(Path(scratch))
        found = _refit(run, run.plan, folder, isolated=True)
        if sha256_of(folder.weights_file) == run.record.hashes.get(folder.weights_file.name):
            return []
    return _below(found, _claimed(run), "a new fit on the same data")


def _refit(run: OpenRun, plan: Plan, folder: RunFolder, *, isolated: bool) -> Metric:
    folder.maps.mkdir(parents=True, exist_ok=True)
    if isolated:
        child = _apart(plan, run)
        child.fit(labelled_items(plan), folder.path / "child")
        take_weights(folder.path / "child", folder)
        child.predict(folder.weights_file, scored_parts(plan.train, plan.test), folder.maps)
    else:
        device = torch.device("cpu")
        method = build_method(plan, device)
        compile_networks(method, recorded_numerics(run.record.env))
        context = RunFitContext(folder, plan.job.seed, device, recorded_numerics(run.record.env), None)
        fit_on_store(method, plan.train, plan.spec, plan.config, plan.job.seed, context)
        predict_roles(method, plan, folder.maps, device, recorded_numerics(run.record.env), None)
    rules = load_protocol(run.record.protocol.name)
    evaluation = score_run(plan.train, plan.test, folder, rules, plan.job.seed, picture=False)[0]
    return _with_interval(evaluation.metrics[KEY], evaluation.cases)


def _claimed(run: OpenRun) -> Metric:
    return _with_interval(run.record.metrics[KEY], read_cases(run.folder.path / "cases.csv"))


def _with_interval(metric: Metric, cases: pd.DataFrame) -> Metric:
    """Gives a metric of too few patients for the bootstrap the interval of Student's t, which is wide."""
    if metric.value is None or metric.low is not None:
        return metric
    means = cases[cases["lesion"].astype(bool)].groupby("patient")["ap"].mean().to_numpy(np.float64)
    spread = float(t.ppf(0.975, len(means) - 1) * means.std(ddof=1) / len(means) ** 0.5) if len(means) > 1 else 1.0
    return metric.model_copy(update={"low": metric.value - spread, "high": metric.value + spread})


def _apart(plan: Plan, run: OpenRun) -> Isolated:
    return Isolated(
        plan,
        "cpu",
        recorded_numerics(run.record.env),
        hidden=[run.folder.path, run.plan.train.path, run.plan.test.path],
    )


def _below(found: Metric, claimed: Metric, what: str) -> list[str]:
    """Compares intervals: reports a problem only if the whole new interval is below the record's."""
    if claimed.low is None or found.high is None:
        return [f"{KEY}: it is undefined in the record or on {what}"]
    if found.high >= claimed.low:
        return []
    words = f"gives {found.value:.3f} (up to {found.high:.3f}), the record claims at least {claimed.low:.3f}"
    return [f"{KEY}: {what} {words}"]


def _same(ours: Path, theirs: Path) -> bool:
    rtol, atol = TOLERANCES[ours.name]
    try:
        one, other = map_npy(ours), map_npy(theirs)
    except DataError:
        return False
    return one.shape == other.shape and bool(np.allclose(one, other, rtol=rtol, atol=atol))
