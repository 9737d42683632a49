import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from uadbench.core.catalog import METHODS
from uadbench.core.dataset import no_progress
from uadbench.core.errors import JobFailed, UserError
from uadbench.core.method import Run
from uadbench.core.record import Record
from uadbench.core.types import Batches
from uadbench.data.store import Store
from uadbench.evaluation.protocol import load_protocol
from uadbench.methods.autoencoder import Autoencoder
from uadbench.runner.folder import RunFolder
from uadbench.runner.plan import Plan, plan_run
from uadbench.runner.run import execute
from uadbench.runner.scoring import score_run
from uadbench.runner.verify import verify_run

from .conftest import write_store

SCRIPT = """
import sys
from pathlib import Path
from uadbench.data.store import Store
from uadbench.runner.plan import plan_run
from uadbench.runner.run import execute
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

    def fit(self, train: Batches, calib: Batches, run: Run, labelled: Batches | None = None) -> None:
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


def test_a_good_run_verifies_even_when_moved(tiny_store: Path, finished: tuple[Record, Path], tmp_path: Path) -> None:
    moved = shutil.copytree(finished[1], tmp_path / "elsewhere")
    result = verify_run(moved, str(tiny_store), None, no_progress, rerun=True)
    assert result.problems == []
    assert result.level == "rerun"


Edit = Callable[[Path], object]


def _edit_json(name: str, *path: str, value: object) -> Edit:
    def edit(folder: Path) -> None:
        content = json.loads((folder / name).read_text())
        place = content
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = value
        (folder / name).write_text(json.dumps(content))

    return edit


def _flip(name: str, where: float = 0.9) -> Edit:
    def edit(folder: Path) -> None:
        data = bytearray((folder / name).read_bytes())
        data[int(len(data) * where)] ^= 4
        (folder / name).write_bytes(bytes(data))

    return edit


TAMPERINGS: dict[str, Edit] = {
    "case_ap": _edit_json("record.json", "metrics", "case_ap", "value", value=0.99),
    "dice": _edit_json("record.json", "metrics", "dice@healthy-fpr@0.01", "value", value=0.99),
    "interval": _edit_json("record.json", "metrics", "case_ap", "low", value=0.98),
    "patients": _edit_json("record.json", "metrics", "case_ap", "n_patients", value=500),
    "rule": _edit_json("record.json", "metrics", "dice@oracle", "rule", value="healthy-fpr@0.01"),
    "seed": _edit_json("record.json", "seed", value=7),
    "id": _edit_json("record.json", "id", value="0" * 16),
    "config": _edit_json("record.json", "method", "config", "image_size", value=64),
    "method": _edit_json("record.json", "method", "name", value="synomaly"),
    "dataset": _edit_json("record.json", "dataset", "version", value="9"),
    "source": _edit_json("record.json", "dataset", "source", value="real"),
    "protocol": _edit_json("record.json", "protocol", "hash", value="0" * 16),
    "maps hash": _edit_json("record.json", "hashes", "maps/test/maps.npy", value="0" * 64),
    "test maps": _flip("maps/test/maps.npy"),
    "calib maps": _flip("maps/calib/maps.npy"),
    "own scores": _flip("maps/test/scores.npy"),
    "weights": _flip("weights.safetensors"),
    "cases": lambda folder: (folder / "cases.csv").write_text((folder / "cases.csv").read_text().replace("0.", "0.9")),
    "curves": lambda folder: (folder / "curves.json").write_text("{}"),
    "missing maps": lambda folder: (folder / "maps" / "test" / "scores.npy").unlink(),
    "uids": lambda folder: (folder / "maps" / "test" / "uids.json").write_text("[]"),
    "config file": lambda folder: (folder / "config.yaml").write_text(
        (folder / "config.yaml").read_text().replace("seed: 0", "seed: 1")
    ),
}


@pytest.mark.parametrize("name", TAMPERINGS)
def test_tampering_is_found(tiny_store: Path, finished: tuple[Record, Path], tmp_path: Path, name: str) -> None:
    folder = shutil.copytree(finished[1], tmp_path / "run")
    TAMPERINGS[name](folder)
    assert verify_run(folder, str(tiny_store), None, no_progress).problems


def test_weights_that_do_not_give_the_maps_are_found_by_rerun(
    tiny_store: Path, finished: tuple[Record, Path], tmp_path: Path
) -> None:
    """A forgery that is re-hashed throughout: only predicting again can tell."""
    folder = RunFolder(shutil.copytree(finished[1], tmp_path / "run"))
    file = folder.maps / "test" / "maps.npy"
    np.save(file, np.load(file) * 1.5)
    plan = _plan(tiny_store)
    evaluation, hashes = score_run(plan.train, plan.test, folder, load_protocol("strict-v1"), 0)
    forged = finished[0].model_copy(update={"metrics": evaluation.metrics, "hashes": hashes})
    folder.write_text("record.json", forged.model_dump_json())
    assert verify_run(folder.path, str(tiny_store), None, no_progress).problems == []
    problems = verify_run(folder.path, str(tiny_store), None, no_progress, rerun=True).problems
    assert problems == ["maps/test: the weights give other maps"]
