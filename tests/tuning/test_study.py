"""``uadbench tune`` from end to end on a tiny store."""

from __future__ import annotations

import errno
import json
from collections import Counter
from pathlib import Path
from typing import Any

import optuna
import pytest
import torch
import yaml
from typer.testing import CliRunner

from uadbench.cli import app
from uadbench.core import experiments
from uadbench.core.catalog import METHODS
from uadbench.core.errors import JobFailed, UserError
from uadbench.core.numerics import PLAIN
from uadbench.core.roles import Role
from uadbench.data.storage.store import Item, Store
from uadbench.runner.execution.fixed_batch import FixedBatchPredictor
from uadbench.runner.execution.run import execute
from uadbench.runner.planning.plan import dataset_part, plan_run
from uadbench.runner.planning.tuned_config import Tuned, load_tuned
from uadbench.tuning.fits import Fits
from uadbench.tuning.judge import judge, thin
from uadbench.tuning.plots import importances
from uadbench.tuning.result import check_replaceable
from uadbench.tuning.space import load_space
from uadbench.tuning.task import StudyTask
from uadbench.tuning.tune import Tuning, tune
from uadbench.tuning.worker import Worker, open_book, open_view

BAD_INPUT = 2


def task(store: Path, folder: Path, **options: Any) -> StudyTask:
    values = {"method": "dae", "dataset": "carotid_us", "store": store, "preset": "smoke", "name": "study"}
    return StudyTask.model_validate(
        {**values, "trials": 4, "settings": 2, "folder": folder, "storage": f"sqlite:///{folder}/s.db", **options}
    )


def silent(line: str) -> None:
    assert line


def run(store: Path, folder: Path, **options: Any) -> Tuning:
    return tune(task(store, folder, **options), folder / "tuned", silent)


@pytest.fixture(scope="module")
def tuned(tiny_store: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Tuning, Path]:
    folder = tmp_path_factory.mktemp("study")
    read: list[Role] = []
    with pytest.MonkeyPatch.context() as patch:
        for name in ("image", "body", "mask"):
            original = getattr(Store, name)

            def spy(self: Store, item: Item, original: Any = original) -> Any:
                read.append(self.item(item.uid).role)
                return original(self, item)

            patch.setattr(Store, name, spy)
        result = run(tiny_store, folder)
    assert set(read) == {Role.TRAIN, Role.CALIB}  # nothing else was touched
    return result, folder


def test_the_file_says_what_was_done(tuned: tuple[Tuning, Path], tiny_store: Path) -> None:
    result, folder = tuned
    assert result.file is not None
    assert result.file == folder / "tuned/dae/carotid_us.yaml"
    content = yaml.safe_load(result.file.read_text())
    assert content["objective"] == "synthetic"
    assert content["labels"] == "none"
    assert content["trials"] == 4
    assert content["study"] == result.outcome.study
    assert content["space"] == load_space(METHODS.load("dae")).hash
    assert content["fingerprint"] == Store(tiny_store).manifest.fingerprint
    METHODS.load("dae").config_type.resolve("smoke", content["config"])
    values = [trial.values[0] for trial in result.outcome.trials]
    assert content["value"] == pytest.approx(max(values), abs=1e-6)
    assert result.outcome.preset is result.outcome.trials[0]


def test_a_longer_study_or_one_of_another_kind_is_kept(tuned: tuple[Tuning, Path], tiny_store: Path) -> None:
    result, folder = tuned
    assert result.file is not None
    before = result.file.read_text()
    for options in ({"trials": 2, "settings": 1}, {"preset": "quick", "trials": 9}):
        with pytest.raises(UserError, match="contains another study"):
            run(tiny_store, folder, name="another", **options)  # before any trial
    assert result.file.read_text() == before
    content = yaml.safe_load(before)
    check_replaceable(result.file, content, force=False)
    check_replaceable(result.file, {**content, "trials": 99, "dataset_version": "3"}, force=False)
    check_replaceable(result.file, {**content, "trials": 1}, force=True)


def test_a_tuned_file_says_where_it_does_not_fit(tiny_store: Path) -> None:
    data = dataset_part(Store(tiny_store))
    tuned = Tuned({}, "none", "file", "quick", data.version, data.fingerprint)
    assert tuned.misfit("quick", data) == ""
    assert "preset quick (here smoke)" in tuned.misfit("smoke", data)
    assert "version 1" in Tuned({}, "none", "file", "quick", "1", "0" * 64).misfit("quick", data)
    committed = load_tuned("synomaly", "carotid_us")
    assert committed.preset == "quick"
    assert committed.data_version == "1"


def test_settings_of_a_fit_share_its_calls(tuned: tuple[Tuning, Path]) -> None:
    calls = result_calls = tuned[0].outcome.calls
    assert result_calls.computed == calls.distinct
    # dae: the median filter alone is a matter of inference, so the second setting of each fit costs no call
    assert calls.asked == 2 * calls.computed
    assert "2.0 x fewer" in calls.words
    fits = [trial.user_attrs["fit"] for trial in tuned[0].outcome.trials]
    assert sorted(Counter(fits).values()) == [2, 2]
    assert not list((tuned[1] / "fits").glob("*/weights.safetensors"))  # nobody will ask for them again


def test_the_page_shows_every_figure_and_escapes(tuned: tuple[Tuning, Path], tiny_store: Path) -> None:
    result, folder = tuned
    html = result.page.read_text()
    for name in ("history", "importance", "slices", "curve-noise_std"):
        assert f'src="{name}.svg"' in html
        assert (folder / f"{name}.svg").read_text().lstrip().startswith("<?xml")
    assert list(folder.glob("contour-*.svg"))
    assert "s.db" not in html
    assert "<script" not in html
    from uadbench.tuning.page import write_page

    hostile = task(tiny_store, folder / "x").model_copy(update={"dataset": "<img src=x onerror=alert(1)>"})
    book = open_book(task(tiny_store, folder), open_view(task(tiny_store, folder)), load_space(METHODS.load("dae")))
    text = write_page(hostile, book.study.user_attrs["definition"], result.outcome).read_text()
    assert "<img src=x" not in text
    assert "&lt;img src=x" in text


def test_run_tuned_uses_the_file_and_says_so(
    tuned: tuple[Tuning, Path], tiny_store: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    result, folder = tuned
    monkeypatch.setattr(experiments, "FOLDER", folder)
    monkeypatch.setattr("uadbench.core.experiments.FOLDER", folder)
    settings = load_tuned("dae", "carotid_us")
    monkeypatch.undo()
    assert settings.labels == "none"
    plan = plan_run(method="dae", train=Store(tiny_store), preset="smoke", tuned=settings, precision="fp32")
    record, path, _ = execute(plan, root=tmp_path)
    assert record.method.label == "dae[tuned]"
    assert record.ledger.tuning_labels == "none"
    assert "experiments/tuned/dae/carotid_us.yaml" in record.ledger.defaults_from
    assert result.outcome.study in record.ledger.defaults_from
    assert result.outcome.best is not None
    wanted = json.loads(result.outcome.best.user_attrs["config"])
    assert {key: record.method.config[key] for key in wanted} == wanted
    plain = plan_run(method="dae", train=Store(tiny_store), preset="smoke", precision="fp32")
    assert plain.job.id != plan.job.id
    # what the study judged is what the run trains: the same fit, bit for bit
    study = task(tiny_store, tmp_path / "again")
    fits = Fits(study, open_view(study), METHODS.load("dae"), torch.device("cpu"), PLAIN)
    weights = fits.get(plan.config, None, None).weights
    from safetensors.torch import load_file

    stored = load_file(path / "weights.safetensors")
    assert weights.keys() == stored.keys()
    assert all(torch.equal(weights[key], stored[key]) for key in stored)


def test_a_watched_fit_is_the_same_fit(tiny_store: Path, tmp_path: Path) -> None:
    reports: list[float] = []

    class Trial:
        def report(self, value: float, step: int) -> None:
            reports.append(value)

        def should_prune(self) -> bool:
            return False

    weights: list[Any] = []
    for name, trial in (("watched", Trial()), ("alone", None)):
        study = task(tiny_store, tmp_path / name)
        worker = Worker(study, silent)
        config = METHODS.load("dae").config_type.resolve("smoke")
        watched = worker._images_for(config)[2]  # pyright: ignore[reportPrivateUsage]
        fits = Fits(study, open_view(study), METHODS.load("dae"), torch.device("cpu"), PLAIN)
        weights.append(fits.get(config, trial, watched).weights)  # pyright: ignore[reportArgumentType]
    assert len(reports) == 3
    assert len(set(reports)) > 1
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])


def test_a_fit_that_falls_behind_is_pruned(tiny_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def always(task: StudyTask) -> optuna.pruners.BasePruner:
        return Always()

    class Always(optuna.pruners.BasePruner):
        def prune(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> bool:
            return trial.user_attrs["slot"] > 0

    monkeypatch.setattr("uadbench.tuning.book.make_pruner", always)
    result = run(tiny_store, tmp_path, settings=1, trials=2)
    assert [trial.state.name for trial in result.outcome.trials] == ["COMPLETE", "PRUNED"]
    assert "1 pruned" in result.page.read_text()


@pytest.mark.parametrize("pruner", ["median", "hyperband", "none"])
def test_pruners_and_hostile_data(tiny_store: Path, tmp_path: Path, pruner: str) -> None:
    result = run(tiny_store, tmp_path, pruner=pruner, settings=1, trials=2, images=4)
    assert len(result.outcome.trials) == 2
    reported = any(trial.intermediate_values for trial in result.outcome.trials)
    assert reported == (pruner != "none")


def test_quality_against_time_and_a_constraint(tiny_store: Path, tmp_path: Path) -> None:
    result = run(tiny_store, tmp_path, with_time=True, max_healthy_fp=0.999, trials=4)
    assert all(len(trial.values) == 2 and trial.values[1] > 0 for trial in result.outcome.trials)
    assert (tmp_path / "time.svg").exists()
    none = run(tiny_store, tmp_path / "strict", max_healthy_fp=1e-9, measure="dice", trials=2)
    assert none.outcome.best is None
    assert none.file is None
    assert "No trial may be used" in none.page.read_text()


def test_val_labels_are_named(tiny_store: Path, tmp_path: Path) -> None:
    result = run(tiny_store, tmp_path, objective="val", trials=1)
    assert result.file is not None
    assert yaml.safe_load(result.file.read_text())["labels"] == "val masks (9 images of 3 patients)"


@pytest.mark.slow
def test_two_processes_share_a_study(tiny_store: Path, tmp_path: Path) -> None:
    result = run(tiny_store, tmp_path, workers=2, trials=5)
    assert sorted(trial.user_attrs["slot"] for trial in result.outcome.trials) == list(range(5))
    assert result.outcome.count(optuna.trial.TrialState.COMPLETE) == 5


def test_a_diverged_training_is_a_failed_trial_with_its_reason(
    tiny_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def diverge(*arguments: Any, **named: Any) -> None:
        raise JobFailed("Training diverged at step 3.")

    monkeypatch.setattr("uadbench.tuning.fits.fit_on_store", diverge)
    result = run(tiny_store, tmp_path, trials=2)
    assert [trial.user_attrs["reason"] for trial in result.outcome.trials] == ["Training diverged at step 3."] * 2
    assert result.file is None


def test_no_time_is_said(tiny_store: Path, tmp_path: Path) -> None:
    with pytest.raises(JobFailed, match="No trial was finished"):
        run(tiny_store, tmp_path, timeout=0)


def test_a_supervised_method_needs_its_role(tiny_store: Path, tmp_path: Path) -> None:
    assert run(tiny_store, tmp_path, method="unet", trials=1, settings=1).outcome.best is not None


def test_an_interruption_gives_the_slot_back(tiny_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*arguments: Any, **named: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("uadbench.tuning.worker.judge", interrupt)
        with pytest.raises(KeyboardInterrupt):
            run(tiny_store, tmp_path, trials=1)
    result = run(tiny_store, tmp_path, trials=1)
    assert len(result.outcome.trials) == 1
    assert result.outcome.preset is not None


def test_a_full_disk_is_bad_input_and_loses_nothing(
    tiny_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: Any, **named: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("uadbench.runner.storage.run_folder.RunFolder.save_weights", full)
        with pytest.raises(UserError, match="No space left on device"):
            run(tiny_store, tmp_path, trials=1)
    assert len(run(tiny_store, tmp_path, trials=1).outcome.trials) == 1


def test_perfect_and_empty_maps(tiny_store: Path) -> None:
    import dataclasses

    import numpy as np

    from uadbench.core.types import ImageSpec
    from uadbench.tuning.judge import Images

    store = Store(tiny_store)
    items = store.role(Role.VAL)
    method = METHODS.load("random").build(METHODS.load("random").config_type(), ImageSpec(1, 32, 32))
    cases = Images(store, items, ImageSpec(1, 32, 32)).predict(FixedBatchPredictor(method, 0, 4, torch.device("cpu")))
    assert len(cases) == len({item.case for item in items})
    perfect = [dataclasses.replace(case, maps=case.lesion.astype(np.float32)) for case in cases]
    healthy = [dataclasses.replace(case, mask=None, maps=np.zeros_like(case.maps)) for case in cases]
    best = judge(perfect, healthy)
    assert best.mean("ap") == 1
    assert best.mean("dice") == 1
    assert best.healthy_fp == 0
    silence = judge(healthy_maps(perfect), healthy)
    assert silence.mean("dice") == 0
    assert silence.mean("ap") < 0.2  # an all-zero map cannot win


def healthy_maps(cases: list[Any]) -> list[Any]:
    import dataclasses

    import numpy as np

    return [dataclasses.replace(case, maps=np.zeros_like(case.maps)) for case in cases]


def test_thinning_keeps_every_patient(tiny_store: Path) -> None:
    items = Store(tiny_store).role(Role.TEST)
    kept = thin(items, 14)
    assert {item.patient for item in kept} == {item.patient for item in items}
    assert len(kept) <= 14
    assert thin(items, 10**6) == items
    assert len(thin(items, 1)) == 12  # one a patient is the least


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--method", "intensity"], "nothing to tune"),
        (["--method", "dae", "--objective", "test"], "--objective is not allowed"),
        (["--method", "dae", "--pruner", "best"], "--pruner is not allowed"),
        (["--method", "dae", "--storage", "nonsense"], "not a database URL"),
        (["--method", "dae", "--storage", "postgresql://me:hunter2@localhost:1/none"], "storage|driver"),
        (["--method", "dae", "--study", "../up"], "is not a valid name"),
        (["--method", "deadalus"], "Unknown method"),
        (["--method", "dae", "--preset", "fast"], "Unknown preset"),
    ],
)
def test_bad_input_is_one_line(
    tiny_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    common = ["tune", "--dataset", "carotid_us", "--source", str(tiny_store), "--trials", "1"]
    with pytest.raises(UserError, match=said) as error:
        CliRunner().invoke(app, [*common, "--preset", "smoke", *options], catch_exceptions=False)
    assert error.value.exit_code == BAD_INPUT
    assert "hunter2" not in str(error.value)
    assert "\n" not in str(error.value)


def test_the_command_goes_on(tiny_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    common = ["tune", "--method", "dae", "--dataset", "carotid_us", "--source", str(tiny_store), "--preset", "smoke"]
    for total in (1, 3):
        result = CliRunner().invoke(
            app, [*common, "--trials", str(total), "--settings", "3", "--out", "tuned"], catch_exceptions=False
        )
        assert result.exit_code == 0
        assert f"{total} of {total} trials" in result.output
    assert "against the preset" in result.output
    assert (tmp_path / "tuned/dae/carotid_us.yaml").exists()
    with pytest.raises(UserError, match="'settings'"):
        CliRunner().invoke(app, [*common, "--trials", "3", "--settings", "2"], catch_exceptions=False)


def test_figures_do_not_depend_on_the_order_in_which_trials_were_begun(tuned: tuple[Tuning, Path]) -> None:
    result, folder = tuned
    trials = list(result.outcome.trials)
    asked = task(folder, folder)
    assert importances(asked, trials) == importances(asked, trials[::-1]) != {}
