import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tests.support.stores import write_store
from uadbench.core.catalog import METHODS
from uadbench.core.errors import JobFailed, UserError
from uadbench.core.method import FitContext
from uadbench.core.record import Record
from uadbench.core.types import Batches
from uadbench.data.storage.store import Store
from uadbench.methods.autoencoder.method import Autoencoder
from uadbench.runner.execution.run import execute
from uadbench.runner.planning.plan import Plan, plan_run
from uadbench.runner.storage.run_folder import RunFolder

SCRIPT = """
import sys
from pathlib import Path
from uadbench.data.storage.store import Store
from uadbench.runner.planning.plan import plan_run
from uadbench.runner.execution.run import execute
method, store, root = sys.argv[1:]
execute(plan_run(method=method, train=Store(Path(store)), preset="smoke"), root=Path(root), checkpoint_seconds=0.0)
"""


def _plan(store: Path, method: str = "autoencoder", **options: object) -> Plan:
    return plan_run(method=method, train=Store(store), preset="smoke", **options)  # pyright: ignore[reportArgumentType]


def _same(a: Record, b: Record) -> None:
    """Asserts that two records are the same in the sense of docs/protocol.md: all but time, cost and environment."""
    drop = {"created", "cost", "env"}
    assert a.model_dump(exclude=drop) == b.model_dump(exclude=drop)


@pytest.fixture(scope="module")
def finished(tiny_store: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Record, Path]:
    record, folder, _ = execute(_plan(tiny_store), root=tmp_path_factory.mktemp("runs"))
    return record, folder


def test_a_run_leaves_everything_a_reader_needs(finished: tuple[Record, Path]) -> None:
    record, folder = finished
    assert record.status == "done"
    assert {"case_ap", "dice@healthy-fpr@0.01", "dice@oracle", "pixel_auroc", "image_auroc"} <= set(record.metrics)
    names = {"record.json", "config.yaml", "cases.csv", "weights.safetensors", "log.jsonl", "overview.png"}
    assert names <= {path.name for path in folder.iterdir()}
    assert (folder / "cases.csv").read_text().count("\n") == 1 + 36
    maps = np.load(folder / "maps" / "test" / "maps.npy", mmap_mode="r")
    assert maps.shape[0] == 36
    assert not list(folder.glob("*tmp*")), "a temporary file was left"
    assert str(folder) not in (folder / "record.json").read_text(), "a record holds no path"


def test_the_same_job_is_returned_and_fresh_gives_the_same(tiny_store: Path, finished: tuple[Record, Path]) -> None:
    record, folder = finished
    again, _, stored = execute(_plan(tiny_store), root=folder.parent)
    assert stored
    assert again == record
    redone, _, stored = execute(_plan(tiny_store), root=folder.parent, fresh=True)
    assert not stored
    _same(redone, record)


def test_the_id_depends_on_all_that_defines_the_job(tiny_store: Path, tmp_path: Path) -> None:
    other = write_store(tmp_path / "other", name="other", frames=1)
    jobs = [
        _plan(tiny_store).job,
        _plan(tiny_store, seed=1).job,
        _plan(tiny_store, method="position").job,
        _plan(tiny_store, overrides={"predict_batch": 5}).job,
        _plan(other).job,
        _plan(tiny_store, test=Store(other)).job,
        _plan(tiny_store, precision="fp32").job,
    ]
    assert len({job.id for job in jobs}) == len(jobs)
    assert jobs[0].id == _plan(tiny_store).job.id


def test_test_cohort_and_inference_settings_share_a_fit_and_nothing_else_does(tiny_store: Path) -> None:
    base = _plan(tiny_store).fit_key
    assert _plan(tiny_store, test=Store(tiny_store)).fit_key == base
    assert _plan(tiny_store, overrides={"predict_batch": 5}).fit_key == base
    assert _plan(tiny_store, seed=1).fit_key != base
    assert _plan(tiny_store, overrides={"lr": 0.01}).fit_key != base


@pytest.mark.parametrize("moment", [0.15, 0.5, 0.85])
def test_a_killed_run_resumes_to_the_same(
    tiny_store: Path, finished: tuple[Record, Path], tmp_path: Path, moment: float
) -> None:
    record, _ = finished
    plan = _plan(tiny_store)
    total = int(plan.config.model_dump()["steps"])
    command = [sys.executable, "-c", SCRIPT, "autoencoder", str(tiny_store), str(tmp_path)]
    process = subprocess.Popen(command)
    folder = RunFolder(tmp_path / plan.job.id)
    checkpoint = folder.path / "checkpoint-train.pt"
    deadline = time.monotonic() + 60
    steps = 0
    while process.poll() is None and time.monotonic() < deadline:
        saved = folder.load_checkpoint("train") if checkpoint.exists() else None
        steps = int(saved["step"]) if saved else 0
        if steps >= moment * total:
            break
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert steps > 0, "the run was killed before its first checkpoint"
    assert not folder.record_file.exists(), "the run ended before it was killed"
    resumed, _, stored = execute(plan, root=tmp_path)
    assert not stored
    _same(resumed, record)


@METHODS.register("diverging")
class Diverging(Autoencoder):
    """An autoencoder whose loss is NaN from step 3 on."""

    name = "diverging"

    def fit(self, train: Batches, calib: Batches, run: FitContext, labelled: Batches | None = None) -> None:
        for step in run.steps("train", 0, 5):
            run.report(step, loss=float("nan") if step >= 3 else 1.0)


def test_a_diverged_training_is_failed_with_its_reason_and_tried_again(tiny_store: Path, tmp_path: Path) -> None:
    plan = _plan(tiny_store, method="diverging")
    for _ in range(2):
        with pytest.raises(JobFailed, match="diverged at step 3"):
            execute(plan, root=tmp_path)
        record = RunFolder(tmp_path / plan.job.id).record()
        assert record is not None
        assert record.status == "failed"
        assert "diverged" in record.reason
        assert record.metrics == {}


def test_a_locked_run_is_left_alone(tiny_store: Path, tmp_path: Path) -> None:
    plan = _plan(tiny_store)
    with RunFolder(tmp_path / plan.job.id).locked(), pytest.raises(UserError, match="in progress"):
        execute(plan, root=tmp_path)


def test_one_fit_serves_two_test_cohorts(tiny_store: Path, finished: tuple[Record, Path], tmp_path: Path) -> None:
    _, folder = finished
    other = write_store(tmp_path / "other", name="other")
    record, path, _ = execute(_plan(tiny_store, test=Store(other)), root=folder.parent)
    assert not (path / "log.jsonl").exists(), "it was fitted again"
    assert record.test_on is not None
    assert record.test_on.fingerprint != record.dataset.fingerprint
    assert record.hashes["weights.safetensors"] == finished[0].hashes["weights.safetensors"]


def test_scores_do_not_depend_on_the_order_of_the_data(tiny_store: Path, finished: tuple[Record, Path]) -> None:
    folder = finished[1]
    first = _plan(tiny_store, overrides={"predict_batch": 7})
    record, path, _ = execute(first, root=folder.parent)
    ours = np.load(path / "maps" / "test" / "maps.npy")
    theirs = np.load(folder / "maps" / "test" / "maps.npy")
    np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-5)
    assert record.metrics["case_ap"].value == pytest.approx(finished[0].metrics["case_ap"].value, abs=0.002)
