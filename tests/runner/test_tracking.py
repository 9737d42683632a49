"""Trackers are told of a run and change nothing of it; one that fails costs its own log alone."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import optuna
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from mlflow import MlflowClient
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from typer.testing import CliRunner

from uadbench.cli import app
from uadbench.core.errors import UnknownName, UserError
from uadbench.core.numerics import PLAIN
from uadbench.core.record import Record
from uadbench.data.storage.store import Store
from uadbench.runner.execution.fit_context import RunFitContext
from uadbench.runner.execution.run import execute
from uadbench.runner.planning.plan import Plan, plan_run
from uadbench.runner.storage.run_folder import RunFolder
from uadbench.runner.tracking.open import TRACKERS, open_tracker
from uadbench.runner.tracking.tracker import (
    Log,
    Status,
    Tracked,
    Tracking,
    Watcher,
    final_scalars,
    hidden,
    plain_name,
    tracked_job,
)
from uadbench.testing.fakes import Interrupted
from uadbench.tuning.task import StudyTask
from uadbench.tuning.tracked import tell_trials

STEPS = 20  # of the autoencoder in preset smoke


def unheard(line: str) -> None:
    pytest.fail(line)


def plan(store: Path, method: str = "autoencoder") -> Plan:
    return plan_run(method=method, train=Store(store), preset="smoke", precision="fp32")


def tracking(name: str, root: Path, **options: Any) -> Tracking:
    return Tracking(open_tracker(name, None, root), unheard, **options)


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty store of MLflow, which takes seconds to make."""
    root = tmp_path_factory.mktemp("empty")
    open_tracker("mlflow", None, root)
    return root / "mlflow.db"


@pytest.fixture
def root(empty: Path, tmp_path: Path) -> Path:
    """A folder for runs."""
    shutil.copy(empty, tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def plainly(tiny_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Record:
    return execute(plan(tiny_store), root=tmp_path_factory.mktemp("plain"), device="cpu")[0]


@pytest.fixture(scope="module")
def tracked(tiny_store: Path, empty: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Record, Record]:
    """Folder of a run that both trackers were told of, one while it happened and one after it, and its records."""
    root = tmp_path_factory.mktemp("tracked")
    shutil.copy(empty, root)
    live, _, stored = execute(plan(tiny_store), root=root / "a", device="cpu", tracking=tracking("tensorboard", root))
    assert not stored
    mlflow, _, stored = execute(plan(tiny_store), root=root / "b", device="cpu", tracking=tracking("mlflow", root))
    assert not stored
    return root, live, mlflow


def events(folder: Path) -> EventAccumulator:
    found = EventAccumulator(str(folder), size_guidance={"scalars": 0, "images": 0})
    found.Reload()
    return found


def runs_of(root: Path) -> list[Any]:
    client = MlflowClient(f"sqlite:///{root / 'mlflow.db'}")
    return list(client.search_runs([found.experiment_id for found in client.search_experiments()]))


def test_a_tracker_changes_neither_the_id_nor_a_number(plainly: Record, tracked: tuple[Path, Record, Record]) -> None:
    drop = {"created", "cost", "env"}
    for record in tracked[1:]:
        assert record.model_dump(exclude=drop) == plainly.model_dump(exclude=drop)  # hashes of maps and weights too


def test_tensorboard_holds_steps_numbers_settings_and_picture(tracked: tuple[Path, Record, Record]) -> None:
    root, record, _ = tracked
    (folder,) = (root / "tensorboard/carotid_us").iterdir()
    found = events(folder)
    steps = [event.step for event in found.Scalars("train/loss")]
    assert steps == list(range(STEPS))
    assert len({event.value for event in found.Scalars("train/loss")}) > STEPS // 2
    for name, value in final_scalars(record).items():
        assert found.Scalars(name)[0].value == pytest.approx(value, rel=1e-6)
    names = {"test/dice/healthy-fpr/0.01", "test/image_auroc_low", "test/image_auroc_high", "cost/train_s"}
    assert names <= final_scalars(record).keys()
    picture = found.Images("overview")[0]
    assert picture.height > 100
    assert {"_hparams_/experiment", "_hparams_/session_start_info"} <= set(found.summary_metadata)
    text = found.Tensors("job/text_summary")[0].tensor_proto.string_val[0].decode()
    assert "| config.image_size | 32 |" in text


def test_mlflow_holds_steps_numbers_settings_and_picture(tracked: tuple[Path, Record, Record]) -> None:
    root, _, record = tracked
    (run,) = runs_of(root)
    client = MlflowClient(f"sqlite:///{root / 'mlflow.db'}")
    assert client.get_experiment(run.info.experiment_id).name == "uadbench carotid_us"
    assert run.info.status == "FINISHED"
    assert run.info.run_name == "autoencoder seed 0"
    history = client.get_metric_history(run.info.run_id, "train/loss")
    assert sorted(metric.step for metric in history) == list(range(STEPS))
    assert run.data.metrics.items() >= final_scalars(record).items()
    assert run.data.params["config.image_size"] == "32"
    assert run.data.params["id"] == record.id
    assert [file.path for file in client.list_artifacts(run.info.run_id)] == ["overview.png"]
    assert not {"mlflow.user", "mlflow.source.name"} & set(run.data.tags)  # no name of a person or a path


@pytest.mark.parametrize("name", TRACKERS)
def test_a_stored_run_is_told_once(tiny_store: Path, root: Path, name: str) -> None:
    record = execute(plan(tiny_store, "position"), root=root, device="cpu")[0]
    for _ in range(2):
        again, _, stored = execute(plan(tiny_store, "position"), root=root, device="cpu", tracking=tracking(name, root))
        assert stored
        assert again == record
    if name == "mlflow":
        assert len(runs_of(root)) == 1
    else:
        (folder,) = (root / "tensorboard/carotid_us").iterdir()
        assert len(events(folder).Scalars("test/case_ap")) == 1


@pytest.mark.parametrize("name", TRACKERS)
def test_an_interrupted_log_goes_on_and_a_new_run_gets_its_own(
    tiny_store: Path, root: Path, plainly: Record, name: str
) -> None:
    job = plan(tiny_store).job

    def part(first: int, *, whole: bool) -> None:
        with tracking(name, root).watching(job) as watcher:
            for step in range(first, first + 5):
                watcher.step("train", step, {"loss": 1.0})
            if not whole:
                raise Interrupted
            watcher.finish(plainly, root)

    with pytest.raises(Interrupted):
        part(0, whole=False)
    assert not open_tracker(name, None, root).holds(job.id)
    part(5, whole=True)
    assert open_tracker(name, None, root).holds(job.id)
    part(0, whole=True)  # the run was done afresh
    if name == "mlflow":
        counts = {
            len(MlflowClient(f"sqlite:///{root / 'mlflow.db'}").get_metric_history(run.info.run_id, "train/loss"))
            for run in runs_of(root)
        }
    else:
        counts = {len(events(folder).Scalars("train/loss")) for folder in (root / "tensorboard/carotid_us").iterdir()}
    assert counts == {10, 5}


def test_a_failed_run_is_shown_as_failed(tiny_store: Path, root: Path, plainly: Record) -> None:
    failed = plainly.model_copy(update={"status": "failed", "metrics": {}, "cost": None})
    with tracking("mlflow", root).watching(plan(tiny_store).job) as watcher:
        watcher.finish(failed, root)
    assert [run.info.status for run in runs_of(root)] == ["FAILED"]
    assert not open_tracker("mlflow", None, root).holds(failed.id)


class Notes:
    """A tracker in memory, which may fail at a step."""

    def __init__(self, fails_at: int | None = None, takes: float = 0.0) -> None:
        self.steps: list[int] = []
        self.pictures: list[str] = []
        self.ends: list[Status] = []
        self._fails_at, self._takes = fails_at, takes

    def holds(self, tracked_id: str) -> bool:
        return False

    def open(self, tracked: Tracked) -> Log:
        return self

    def step(self, step: int, scalars: Mapping[str, float]) -> None:
        time.sleep(self._takes)
        if step == self._fails_at:
            raise ConnectionError("http://me:secret@host is\ndown")
        self.steps.append(step)

    def finish(self, status: Status, scalars: Mapping[str, float], pictures: Mapping[str, Path]) -> None:
        self.ends.append(status)
        self.pictures += pictures


def test_a_tracker_that_fails_costs_its_own_log_alone(tiny_store: Path, tmp_path: Path, plainly: Record) -> None:
    said: list[str] = []
    notes = Notes(fails_at=7)
    record = execute(plan(tiny_store), root=tmp_path, device="cpu", tracking=Tracking(notes, said.append))[0]
    assert record.metrics == plainly.metrics
    assert notes.steps == list(range(7))
    assert notes.ends == []
    assert said == ["Tracking stopped (ConnectionError): http://...@host is down; the run continues."]


def test_the_time_of_a_tracker_is_not_counted_as_training(tmp_path: Path) -> None:
    notes = Notes(takes=0.05)

    def track(phase: str, step: int, scalars: Mapping[str, float]) -> None:
        notes.step(step, scalars)

    run = RunFitContext(RunFolder(tmp_path), 0, torch.device("cpu"), PLAIN, None, track=track)
    began = time.monotonic()
    for step in run.steps("fit", 0, 6):
        run.report(step, loss=1.0)
    spent = time.monotonic() - began
    assert notes.steps == list(range(6))
    assert spent >= 0.3
    assert run.train_seconds < spent - 0.25


@pytest.mark.parametrize(("source", "asked", "shown"), [("phantom", False, 1), ("real", False, 0), ("real", True, 1)])
def test_pictures_of_patients_are_shown_on_request_alone(
    tiny_store: Path, tmp_path: Path, plainly: Record, source: str, asked: bool, shown: int
) -> None:
    (tmp_path / "overview.png").write_bytes(b"a picture")
    record = plainly.model_copy(update={"dataset": plainly.dataset.model_copy(update={"source": source})})
    notes = Notes()
    Watcher(Tracking(notes, unheard, include_images=asked), plan(tiny_store).job).finish(record, tmp_path)
    assert notes.pictures == ["overview"] * shown


@pytest.mark.parametrize(("name", "package"), [("tensorboard", "tensorboard"), ("mlflow", "mlflow")])
def test_a_missing_extra_is_named(name: str, package: str) -> None:
    code = (
        f"import sys; sys.modules[{package!r}] = None; from pathlib import Path\n"
        "from uadbench.core.errors import UserError; from uadbench.runner.tracking.open import open_tracker\n"
        f"try: open_tracker({name!r}, None, Path('nowhere'))\n"
        "except UserError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == f"--track {name} needs the extra [tracking] ({package}). pip install 'uadbench[tracking]'\n"
    assert not Path("nowhere").exists()


def test_bad_places_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UnknownName, match="Did you mean mlflow"):
        open_tracker("mlflo", None, tmp_path)
    with pytest.raises(UserError, match="is not an address of MLflow"):
        open_tracker("mlflow", "runs/mlflow", tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be created"):
        open_tracker("tensorboard", str(tmp_path / "file"), tmp_path)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(UserError, match=r"MLflow cannot use http://\.\.\.@127\.0\.0\.1:9") as caught:
        open_tracker("mlflow", "http://me:secret@127.0.0.1:9", tmp_path)
    assert "secret" not in str(caught.value)
    shell = CliRunner()
    words = ["run", "--method", "position", "--dataset", "carotid_us", "--preset", "smoke", "--out", str(tmp_path)]
    assert "without a tracker" in str(shell.invoke(app, [*words, "--track-to", "x"]).exception)
    assert isinstance(shell.invoke(app, [*words, "--track", "wandb"]).exception, UnknownName)


def test_mlflow_uses_the_address_of_its_environment(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "mlflow.db").rename(root / "theirs.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{root}/theirs.db")
    assert not open_tracker("mlflow", None, root / "runs").holds("a")
    assert [file.name for file in root.iterdir()] == ["theirs.db"]


@given(st.text(min_size=1, max_size=60))
def test_names_are_those_that_both_trackers_take(key: str) -> None:
    assert re.fullmatch(r"[A-Za-z0-9_./-]+", plain_name(key))
    assert plain_name(plain_name(key)) == plain_name(key)


def test_parameters_say_all_that_defines_a_job(tiny_store: Path) -> None:
    job = plan(tiny_store).job
    params = tracked_job(job).params
    assert {f"config.{key}" for key in job.method.config} <= set(params)
    assert not any(str(tiny_store) in str(value) for value in params.values())
    assert hidden("postgresql://me:secret@host/db") == "postgresql://...@host/db"


def trial(slot: int, state: optuna.trial.TrialState) -> optuna.trial.FrozenTrial:
    done = state == optuna.trial.TrialState.COMPLETE
    found = {"ap": {"p1": 0.2, "p2": 0.6}, "dice": {"p1": 0.1, "p2": 0.3}, "healthy_fp": 0.02} if done else {}
    config = json.dumps({"lr": 1e-3, "noise": "simplex"})
    return optuna.trial.create_trial(
        state=state, values=[0.4] if done else None, user_attrs={"slot": slot, "config": config, **found}
    )


@pytest.mark.parametrize("name", TRACKERS)
def test_each_trial_of_a_study_is_told_once(root: Path, name: str) -> None:
    task = StudyTask(
        method="autoencoder",
        dataset="carotid_us",
        store=root,
        name="mine",
        storage="sqlite://",
        trials=3,
        folder=root,
    )
    states = optuna.trial.TrialState
    trials = [trial(0, states.COMPLETE), trial(1, states.PRUNED)]
    tell_trials(tracking(name, root), task, trials)
    tell_trials(tracking(name, root), task, [*trials, trial(2, states.COMPLETE)])
    if name == "mlflow":
        found = {run.info.run_name: (run.data.metrics, run.data.params) for run in runs_of(root)}
        assert len(runs_of(root)) == 3
        assert found["trial 1"][0] == {
            "tune/ap": pytest.approx(0.4),
            "tune/dice": pytest.approx(0.2),
            "tune/healthy_fp": 0.02,
        }
        assert found["trial 2"][1]["state"] == "pruned"
        assert found["trial 3"][1]["config.noise"] == "simplex"
    else:
        folders = sorted((root / "tensorboard/tune-mine").iterdir())
        assert [folder.name[:7] for folder in folders] == ["trial-1", "trial-2", "trial-3"]
        assert events(folders[0]).Scalars("tune/ap")[0].value == pytest.approx(0.4)
