"""Runs that differ only in how they predict share one fit, in this process and isolated; nothing else does."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from uadbench.core.record import Record
from uadbench.data.storage.store import Store
from uadbench.runner.execution.isolated import isolation
from uadbench.runner.execution.run import execute
from uadbench.runner.execution.shared_fit import SECONDS_FILE
from uadbench.runner.planning.plan import plan_run
from uadbench.runner.storage.run_folder import RunFolder

needs_a_namespace = pytest.mark.skipif(isolation()[0] != "namespace", reason=f"no namespace here: {isolation()[1]}")
HOW = [False, pytest.param(True, marks=needs_a_namespace)]
MARKED = 123.456  # seconds that no fit here takes: who reports them took the weights


def run(store: Path, root: Path, batch: int, *, isolated: bool, fresh: bool = False) -> tuple[Record, Path]:
    plan = plan_run(method="mean_residual", train=Store(store), preset="smoke", overrides={"predict_batch": batch})
    return execute(plan, root=root, device="cpu", isolated=isolated, fresh=fresh)[:2]


def marked(store: Path, root: Path, *, isolated: bool) -> tuple[Record, Path]:
    """A first run whose training seems to have taken MARKED seconds."""
    record, folder = run(store, root, 3, isolated=isolated)
    (folder / SECONDS_FILE).write_text(str(MARKED))
    return record, folder


@pytest.mark.parametrize("isolated", HOW)
def test_a_run_that_only_predicts_otherwise_takes_the_weights(
    tiny_store: Path, tmp_path: Path, *, isolated: bool
) -> None:
    first, folder = marked(tiny_store, tmp_path, isolated=isolated)
    second, other = run(tiny_store, tmp_path, 5, isolated=isolated)
    assert second.cost is not None
    assert second.cost.train_s == pytest.approx(MARKED)
    assert second.metrics == first.metrics
    assert second.env.isolated == first.env.isolated
    weights = RunFolder(folder).weights_file.name
    assert (other / weights).read_bytes() == (folder / weights).read_bytes()
    fresh, _ = run(tiny_store, tmp_path, 5, isolated=isolated, fresh=True)
    assert fresh.cost is not None
    assert fresh.cost.train_s < MARKED
    assert fresh.metrics == first.metrics


@pytest.mark.parametrize("isolated", HOW)
def test_weights_changed_since_are_not_taken(tiny_store: Path, tmp_path: Path, *, isolated: bool) -> None:
    first, folder = marked(tiny_store, tmp_path, isolated=isolated)
    held = RunFolder(folder)
    held.save_weights({name: value + 1 for name, value in held.load_weights().items()})
    second, _ = run(tiny_store, tmp_path, 5, isolated=isolated)
    assert second.cost is not None
    assert second.cost.train_s < MARKED
    assert second.metrics == first.metrics


@needs_a_namespace
def test_an_isolated_run_takes_no_weights_fitted_beside_the_scorer(tiny_store: Path, tmp_path: Path) -> None:
    _, folder = marked(tiny_store, tmp_path / "runs", isolated=False)
    stopped = shutil.copytree(folder, tmp_path / "stopped" / folder.name)
    (stopped / "record.json").unlink()  # after its fit in this process; it is resumed isolated
    second, _ = run(tiny_store, tmp_path / "runs", 5, isolated=True)
    assert second.cost is not None
    assert second.cost.train_s < MARKED
    resumed, _ = run(tiny_store, tmp_path / "stopped", 3, isolated=True)
    assert resumed.cost is not None
    assert resumed.cost.train_s < MARKED
    assert resumed.env.isolated == "namespace"
