"""Suites that run: what a worker leaves behind, and what a suite that is started again does."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from threading import Event
from typing import Any

import pytest
import yaml

from tests.support.stores import write_store
from uadbench.core.dataset import no_progress
from uadbench.core.errors import JobFailed, UnknownName, UserError
from uadbench.core.record import Record
from uadbench.core.registry import Registry
from uadbench.records.export import exported_record
from uadbench.records.layout import TABLES
from uadbench.records.stored import stored_records
from uadbench.runner.execution.run import execute
from uadbench.runner.storage.run_folder import RunFolder
from uadbench.runner.suites.estimate import Costs
from uadbench.runner.suites.executors import make_executor
from uadbench.runner.suites.executors.local import threads_each
from uadbench.runner.suites.job_table import JobRow, JobTable
from uadbench.runner.suites.suite import load_suite
from uadbench.runner.suites.suite_run import SuiteRun
from uadbench.runner.suites.work import Work
from uadbench.runner.suites.worker import work


class InThisProcess:
    """An executor of one worker that is the test itself."""

    workers = 1

    def __init__(self) -> None:
        self.ended = 0

    def start(self, task: Work, jobs: int) -> None:
        self.ended = work(task)

    def tend(self) -> None:
        pass

    def stop(self) -> None:
        pass


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_store(tmp_path_factory.mktemp("suite") / "store", frames=1)


def write_suite(folder: Path, store: Path, **changes: Any) -> Path:
    content: dict[str, Any] = {
        "name": "trial",
        "seeds": [0],
        "methods": ["intensity", "random"],
        "datasets": ["carotid_us"],
        "sources": {"carotid_us": str(store)},
        **changes,
    }
    file = folder / "trial.yaml"
    file.write_text(yaml.safe_dump(content))
    return file


def run_all(folder: Path, suite: Path) -> tuple[list[JobRow], InThisProcess, SuiteRun]:
    run = SuiteRun(load_suite(suite), folder / "runs", folder / "records", no_progress)
    executor = InThisProcess()
    rows = list(run.run(executor, "cpu"))[-1]
    return rows, executor, run


def states(rows: list[JobRow]) -> list[str]:
    return [row.state for row in rows]


def test_every_record_is_exported_and_a_second_call_does_nothing(store: Path, tmp_path: Path) -> None:
    suite = write_suite(tmp_path, store)
    rows, executor, _ = run_all(tmp_path, suite)
    assert states(rows) == ["done", "done"]
    assert executor.ended == 2
    files = sorted(path.name for path in (tmp_path / "records").rglob("*.*") if path.is_file())
    assert files == sorted(f"{row.id}.{name}" for row in rows for name in ("json", *TABLES))
    again, executor, _ = run_all(tmp_path, suite)
    assert states(again) == ["done", "done"]
    assert executor.ended == 0
    assert [row.attempts for row in again] == [0, 0]
    assert not list((tmp_path / "runs" / ".suites").rglob("*.lock"))


def test_a_suite_goes_on_elsewhere_from_the_exported_records_alone(store: Path, tmp_path: Path) -> None:
    suite = write_suite(tmp_path, store)
    run_all(tmp_path, suite)
    longer = write_suite(tmp_path, store, methods=["intensity", "random", "position"])
    (tmp_path / "runs").rename(tmp_path / "left behind")
    rows, executor, _ = run_all(tmp_path, longer)
    assert states(rows) == ["done"] * 3
    assert executor.ended == 1
    assert [path.parent.name for path in (tmp_path / "runs").glob("*/record.json")] == [rows[2].id]


def test_what_ended_before_it_was_exported_is_exported_by_the_next_call(store: Path, tmp_path: Path) -> None:
    suite = write_suite(tmp_path, store)
    _, _, run = run_all(tmp_path, suite)
    for file in (tmp_path / "records").rglob("*.json"):
        file.unlink()
    _, executor, _ = run_all(tmp_path, suite)
    assert executor.ended == 0
    assert all(planned.plan and exported_record(planned.plan.job, tmp_path / "records") for planned in run.planned)


def test_an_exported_record_of_another_run_stays_and_one_of_this_run_follows_it(store: Path, tmp_path: Path) -> None:
    suite = write_suite(tmp_path, store, methods=["intensity"])
    rows, _, run = run_all(tmp_path, suite)
    plan = run.planned[0].plan
    assert plan is not None
    (file,) = (tmp_path / "records").rglob(f"{rows[0].id}.json")
    record = exported_record(plan.job, tmp_path / "records")
    assert record is not None
    for created, stays in [("2020-01-01T00:00:00+00:00", True), (record.created, False)]:
        other = record.model_copy(update={"created": created, "reason": "as exported"})
        file.write_text(other.model_dump_json())
        run_all(tmp_path, suite)
        assert exported_record(plan.job, tmp_path / "records") == (other if stays else record)


def test_a_failed_job_has_its_reason_does_not_stop_the_others_and_is_tried_again(store: Path, tmp_path: Path) -> None:
    suite = write_suite(
        tmp_path, store, methods=["synomaly", "intensity"], plain=False, variants={"synomaly": [{"t": 5000}]}
    )
    for _ in range(2):
        rows, executor, _ = run_all(tmp_path, suite)
        assert states(rows) == ["failed", "done"]
        assert "5000" in rows[0].reason
        assert executor.ended >= 1
        assert not (tmp_path / "records" / "strict-v1" / "carotid_us" / "synomaly").exists()


def test_a_bug_in_a_method_is_a_failed_job_with_its_traceback_kept(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from uadbench.methods.intensity.method import Intensity

    def broken(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError("a bug\nof two lines")

    monkeypatch.setattr(Intensity, "predict", broken)
    rows, _, _ = run_all(tmp_path, write_suite(tmp_path, store))
    assert states(rows) == ["failed", "done"]
    assert rows[0].reason == "ZeroDivisionError: a bug of two lines"
    assert "Traceback" in (tmp_path / "runs" / rows[0].id / "error.txt").read_text()


def test_a_full_disk_leaves_no_partial_record(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: RunFolder, name: str, text: str) -> Path:
        if name == "record.json":
            raise OSError(28, "No space left on device")
        return self.write(name, lambda path: path.write_text(text))

    suite = write_suite(tmp_path, store, methods=["intensity"])
    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "write_text", full)
        rows, _, _ = run_all(tmp_path, suite)
    assert states(rows) == ["failed"]
    assert "No space left" in rows[0].reason
    assert not list(tmp_path.rglob("record.json"))
    rows, _, _ = run_all(tmp_path, suite)
    assert states(rows) == ["done"]


def test_data_that_are_absent_are_skipped_with_the_reason(store: Path, tmp_path: Path) -> None:
    sources = {"carotid_us": str(store), "brain_mri": "nowhere"}
    suite = write_suite(tmp_path, store, datasets=["brain_mri", "carotid_us"], sources=sources)
    rows, executor, _ = run_all(tmp_path, suite)
    assert states(rows) == ["skipped", "skipped", "done", "done"]
    assert "nowhere" in rows[0].reason
    assert executor.ended == 2


def test_a_job_in_progress_elsewhere_is_waited_for(store: Path, tmp_path: Path) -> None:
    """Another process holds the first job's run, as ``uadbench run`` would; the others go first."""
    suite = write_suite(tmp_path, store)
    run = SuiteRun(load_suite(suite), tmp_path / "runs", tmp_path / "records", no_progress)
    held = tmp_path / "runs" / run.planned[0].id
    code = (
        "import sys, time; from pathlib import Path; from uadbench.runner.storage.run_folder import RunFolder\n"
        "with RunFolder(Path(sys.argv[1])).locked(): print('held', flush=True); time.sleep(3)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(held)], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        other.stdout.readline()
        rows, _, _ = run_all(tmp_path, suite)
    assert states(rows) == ["done", "done"]
    assert rows[0].changed > rows[1].changed
    assert [row.attempts for row in rows] == [1, 1]


def test_a_source_may_be_below_the_home_folder(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(store.parent))
    suite = write_suite(tmp_path, store, methods=["intensity"], sources={"carotid_us": f"~/{store.name}"})
    assert states(run_all(tmp_path, suite)[0]) == ["done"]


def test_two_rows_that_are_one_job_are_refused(store: Path, tmp_path: Path) -> None:
    sources = {"carotid_us": str(store), "carotid_us@b": str(store)}
    suite = write_suite(tmp_path, store, datasets=["carotid_us", "carotid_us@b"], sources=sources)
    with pytest.raises(UserError, match="the same job as another row"):
        run_all(tmp_path, suite)


def test_a_variant_with_the_values_of_the_plain_row_runs_once(tmp_path: Path) -> None:
    variants = {"synomaly": [{"sigma": 3.0}, {"sigma": 7.0}]}
    for modality, differs in (
        ("us-carotid", 3.0),
        ("mr-brain-flair", 7.0),
    ):  # 7 is published for the carotid, 3 the preset's
        folder = tmp_path / modality
        store = write_store(folder / "store", frames=1, modality=modality)
        suite = load_suite(write_suite(folder, store, methods=["synomaly"], variants=variants))
        run = SuiteRun(suite, folder / "runs", folder / "records", no_progress)
        assert [planned.row.overrides for planned in run.planned] == [{}, {"sigma": differs}]


def test_smoke_records_are_not_exported(store: Path, tmp_path: Path) -> None:
    rows, _, _ = run_all(tmp_path, write_suite(tmp_path, store, preset="smoke", methods=["intensity"]))
    assert states(rows) == ["done"]
    assert not (tmp_path / "records").exists()


def test_times_are_estimated_from_what_was_measured(store: Path, tmp_path: Path) -> None:
    suite = write_suite(tmp_path, store, methods=["intensity"])
    rows, _, first = run_all(tmp_path, suite)
    more = load_suite(write_suite(tmp_path, store, methods=["intensity", "position"], seeds=[0, 1]))
    run = SuiteRun(more, tmp_path / "runs", tmp_path / "records", no_progress)
    costs = Costs()
    assert costs.estimate(run.planned).unknown == 4
    records = list(stored_records([tmp_path / "runs", tmp_path / "records"]))
    assert [record.id for record in records] == [rows[0].id]
    slow = records[0].model_copy(
        update={
            "cost": records[0].cost and records[0].cost.model_copy(update={"train_s": 30.0, "predict_ms_per_image": 0})
        }
    )
    costs.add_records([slow])
    assert costs.of(run.planned[0]) == pytest.approx(30)
    found = costs.estimate(run.planned)
    assert (found.seconds, found.unknown) == (pytest.approx(60), 2)
    costs.add_table(rows, first.by_id)
    assert costs.of(run.planned[0]) == rows[0].seconds, "a whole job's time goes first"


def test_training_that_jobs_share_is_counted_once(store: Path, tmp_path: Path) -> None:
    run_all(tmp_path, write_suite(tmp_path, store, preset="smoke", methods=["synomaly"]))
    made = next(iter(stored_records([tmp_path / "runs"])))
    cost = made.cost and made.cost.model_copy(update={"train_s": 30.0, "predict_ms_per_image": 0})
    variants = {"synomaly": [{"stages": 1}, {"lr": 0.01}]}
    suite = load_suite(write_suite(tmp_path, store, preset="smoke", methods=["synomaly"], variants=variants))
    run = SuiteRun(suite, tmp_path / "elsewhere", tmp_path / "records", no_progress)
    costs = Costs()
    costs.add_records([made.model_copy(update={"cost": cost})])
    assert [costs.of(job) for job in run.planned] == pytest.approx([30, 30, 30])
    assert costs.estimate(run.planned).seconds == pytest.approx(60), "stages affect only prediction"


def test_the_live_table_resolves_no_config_twice(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    suite = load_suite(write_suite(tmp_path, store, methods=["intensity", "position"]))
    run = SuiteRun(suite, tmp_path / "runs", tmp_path / "records", no_progress)
    costs = Costs()
    seen = [(each.row.label, costs.of(each)) for each in run.planned]

    def refuse(*_: object) -> None:
        raise AssertionError("drawn twice a second, the table would take a core of long suites")

    monkeypatch.setattr(Registry, "load", refuse)
    assert [(each.row.label, costs.of(each)) for each in run.planned] == seen


def test_threads_are_divided_among_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    whole = threads_each(1)
    assert threads_each(2) == max(1, whole // 2)
    assert threads_each(1000) == 1
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert threads_each(1) == 1


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("ry", {}, "Did you mean ray"),
        ("local", {"partition": "gpu"}, "executor option"),
        ("slurm", {"cluster": "slrm"}, "Did you mean slurm"),
    ],
)
def test_an_unknown_executor_or_option_is_refused(name: str, options: dict[str, str], words: str) -> None:
    if name == "slurm":
        pytest.importorskip("submitit")
    with pytest.raises(UnknownName, match=words):
        make_executor(name, 1, "cpu", options)


@pytest.mark.slow
def test_bench_prints_jobs_and_fails_if_one_fails(store: Path, tmp_path: Path) -> None:
    suite = write_suite(
        tmp_path, store, methods=["synomaly", "intensity"], plain=False, variants={"synomaly": [{"t": 5000}]}
    )
    command = [sys.executable, "-m", "uadbench", "bench", str(suite), "--device", "cpu"]
    dry = subprocess.run([*command, "--dry-run"], capture_output=True, text=True, cwd=tmp_path)
    assert dry.returncode == 0, dry.stderr
    assert "2 jobs: 0 stored, 2 to do, 0 skipped." in dry.stdout
    assert not (tmp_path / "runs").exists(), "a dry run writes nothing"
    result = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert result.returncode == 1, result.stderr
    assert "intensity seed 0: done" in result.stdout
    assert "synomaly[t=5000] seed 0: failed" in result.stdout
    assert "1 jobs failed" in result.stderr
    dry = subprocess.run([*command, "--dry-run"], capture_output=True, text=True, cwd=tmp_path)
    assert "1 stored, 1 to do" in dry.stdout
    assert "failed before" in dry.stdout
    records = list((tmp_path / "leaderboard" / "records").rglob("intensity/????????????????.json"))
    assert [Record.model_validate_json(file.read_bytes()).status for file in records] == ["done"]


def test_an_isolated_suite_gives_the_same_numbers_and_says_so(store: Path, tmp_path: Path) -> None:
    suite = load_suite(write_suite(tmp_path, store, methods=["mean_residual"]))
    metrics: list[Any] = []
    for isolated in (False, True):
        run = SuiteRun(suite, tmp_path / f"runs-{isolated}", tmp_path / f"records-{isolated}", no_progress)
        rows = list(run.run(InThisProcess(), "cpu", isolated=isolated))[-1]
        assert states(rows) == ["done"]
        record = run.stored(run.planned[0])
        assert record is not None
        assert (record.env.isolated != "none") == isolated
        metrics.append(record.metrics)
    assert metrics[0] == metrics[1]


def test_workers_that_cannot_live_end_the_suite(store: Path, tmp_path: Path) -> None:
    class Dying(InThisProcess):
        stopped = False

        def start(self, task: Work, jobs: int) -> None:
            pass

        def tend(self) -> None:
            raise JobFailed("workers died")

        def stop(self) -> None:
            self.stopped = True

    run = SuiteRun(load_suite(write_suite(tmp_path, store)), tmp_path / "runs", tmp_path / "records", no_progress)
    executor = Dying()
    with pytest.raises(JobFailed, match="workers died"):
        list(run.run(executor, "cpu"))
    assert executor.stopped


class Ended(InThisProcess):
    """An executor whose first worker is asked to end during its first job; then another one works."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, first: Callable[..., Any], left: list[str]) -> None:
        super().__init__()
        self._monkeypatch, self._first, self._left = monkeypatch, first, left

    def start(self, task: Work, jobs: int) -> None:
        ending = Event()

        def run(*arguments: Any, **options: Any) -> Any:
            ending.set()
            return self._first(*arguments, **options)

        with self._monkeypatch.context() as patched, pytest.raises(SystemExit):
            patched.setattr("uadbench.runner.suites.worker.execute", run)
            work(task, ending)
        assert sorted(row.state for row in JobTable(task.table).rows()) == self._left
        super().start(task, jobs)


def test_a_job_that_breaks_while_its_worker_is_ended_has_not_failed(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A library may turn the exit that a signal's handler raises into an error of its own."""

    def broken(*_: Any, **__: Any) -> None:
        raise ImportError("a module was not loaded to its end")

    executor = Ended(monkeypatch, broken, ["queued", "running"])
    run = SuiteRun(load_suite(write_suite(tmp_path, store)), tmp_path / "runs", tmp_path / "records", no_progress)
    rows = list(run.run(executor, "cpu"))[-1]
    assert states(rows) == ["done", "done"]
    assert sorted(row.attempts for row in rows) == [1, 2]


def test_a_worker_whose_exit_was_swallowed_takes_no_further_job(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    executor = Ended(monkeypatch, execute, ["done", "queued"])
    run = SuiteRun(load_suite(write_suite(tmp_path, store)), tmp_path / "runs", tmp_path / "records", no_progress)
    assert states(list(run.run(executor, "cpu"))[-1]) == ["done", "done"]
