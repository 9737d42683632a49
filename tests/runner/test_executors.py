"""Suites on real workers: processes, a Ray cluster, SLURM's scripts. Killed ones lose no job and double none."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.stores import write_store
from uadbench.core.dataset import no_progress
from uadbench.core.errors import UserError
from uadbench.core.record import Record
from uadbench.runner.suites.executors import make_executor
from uadbench.runner.suites.job_table import JobRow, JobTable
from uadbench.runner.suites.suite import load_suite
from uadbench.runner.suites.suite_run import SuiteRun
from uadbench.runner.suites.work import Executor, Work

pytestmark = pytest.mark.slow
LIMIT = 240.0


def need(module: str) -> None:
    """Skips without the package on a developer's machine; in CI its absence is a failure."""
    if importlib.util.find_spec(module) is None:
        if os.environ.get("CI") == "true":
            pytest.fail(f"{module} is not installed: pip install -e '.[cluster]'")
        pytest.skip(f"{module} is not installed (extra cluster)")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_store(tmp_path_factory.mktemp("suite") / "store", frames=1)


@pytest.fixture
def suite(tmp_path: Path, store: Path) -> Path:
    content: dict[str, Any] = {
        "name": "trial",
        "preset": "smoke",
        "seeds": [0, 1],
        "methods": ["intensity", "position", "random", "autoencoder"],
        "datasets": ["carotid_us"],
        "sources": {"carotid_us": str(store)},
    }
    file = tmp_path / "trial.yaml"
    file.write_text(yaml.safe_dump(content))
    return file


def open_suite(suite: Path) -> SuiteRun:
    return SuiteRun(load_suite(suite), suite.parent / "runs", suite.parent / "records", no_progress)


def records(suite: Path) -> dict[str, Record]:
    files = (suite.parent / "runs").glob("*/record.json")
    return {file.parent.name: Record.model_validate_json(file.read_bytes()) for file in files}


def table_file(suite: Path) -> Path:
    deadline = time.monotonic() + LIMIT
    while time.monotonic() < deadline:
        for file in (suite.parent / "runs" / ".suites").glob("*.sqlite"):
            return file
        time.sleep(0.1)
    raise AssertionError("no job table was made")


def await_running(suite: Path, ended: int) -> None:
    """Waits until so many jobs have ended and at least one is running."""
    table = JobTable(table_file(suite))
    deadline = time.monotonic() + LIMIT
    states = list[str]()
    while time.monotonic() < deadline:
        states = [row.state for row in table.rows()]
        if states.count("done") >= ended and "running" in states:
            table.close()
            return
        time.sleep(0.02)
    raise AssertionError(f"the suite did not get so far: {states}")


def complete(suite: Path, rows: list[JobRow], *, retried: int) -> None:
    """Asserts that every job has its record and was begun once, but for at most so many that were retried."""
    assert [row.state for row in rows] == ["done"] * 8, [row.reason for row in rows]
    found = records(suite)
    assert set(found) == {row.id for row in rows}
    assert {record.status for record in found.values()} == {"done"}
    begun = [row.attempts for row in rows]
    assert set(begun) <= {0, 1, 2}
    assert begun.count(2) <= retried
    assert not list((suite.parent / "runs").rglob("*.tmp*")), "a temporary file was left"


def start_bench(suite: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "uadbench", "bench", str(suite), "--workers", "2", "--device", "cpu"]
    return subprocess.Popen(
        command, cwd=suite.parent, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def children(process: subprocess.Popen[str]) -> list[int]:
    """Returns the worker processes, without multiprocessing's own helper."""
    listed = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return [int(pid) for pid in listed if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"


def await_end(pids: list[int]) -> None:
    deadline = time.monotonic() + 30
    while any(map(alive, pids)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not any(map(alive, pids)), "workers were left behind"


def test_a_killed_worker_is_replaced_and_its_job_retried(suite: Path) -> None:
    bench = start_bench(suite)
    await_running(suite, ended=1)
    # Both may be between two jobs for a moment: killing either at worst retries nothing.
    os.kill(children(bench)[0], signal.SIGKILL)
    output, errors = bench.communicate(timeout=LIMIT)
    assert bench.returncode == 0, errors
    assert output.count(": done") == 8
    table = JobTable(table_file(suite))
    complete(suite, table.rows(), retried=1)


def test_a_killed_suite_goes_on_where_it_was(suite: Path) -> None:
    bench = start_bench(suite)
    await_running(suite, ended=2)
    workers = children(bench)
    bench.kill()
    bench.communicate()
    await_end(workers)
    before = records(suite)
    assert 2 <= len(before) < 8
    bench = start_bench(suite)
    output, errors = bench.communicate(timeout=LIMIT)
    assert bench.returncode == 0, errors
    assert output.count(": stored") == len(before)
    rows = JobTable(table_file(suite)).rows()
    complete(suite, rows, retried=0)
    after = records(suite)
    assert {name: after[name] for name in before} == before, "what was done was not done again"


def test_ctrl_c_ends_cleanly(suite: Path) -> None:
    bench = start_bench(suite)
    await_running(suite, ended=1)
    workers = children(bench)
    # As a terminal does: to the whole group of processes.
    os.killpg(bench.pid, signal.SIGINT)
    _, errors = bench.communicate(timeout=60)
    assert bench.returncode == 130, errors
    assert "repeat the command to resume" in errors
    assert "Traceback" not in errors
    await_end(workers)
    assert not list((suite.parent / "runs").rglob("*.tmp*")), "a temporary file was left"
    table = JobTable(table_file(suite))
    assert {row.state for row in table.rows()} <= {"done", "queued"}, "no job is still claimed"


def drive(run: SuiteRun, executor: Executor) -> Iterator[list[JobRow]]:
    deadline = time.monotonic() + LIMIT
    for rows in run.run(executor, "cpu"):
        yield rows
        assert time.monotonic() < deadline, rows


def test_ray_loses_a_node_and_no_job(suite: Path) -> None:
    need("ray")
    from ray.cluster_utils import Cluster

    store_size = 100 * 2**20
    head = {"num_cpus": 0, "include_dashboard": False, "object_store_memory": store_size}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    try:
        nodes = [cluster.add_node(num_cpus=1, object_store_memory=store_size) for _ in range(2)]
        executor = make_executor("ray", None, "cpu", {"address": cluster.address})
        assert executor.workers == 2
        killed = False
        rows: list[JobRow] = []
        for rows in drive(open_suite(suite), executor):
            states = [row.state for row in rows]
            # Both nodes have a job when one of them is lost.
            if not killed and states.count("running") == 2 and states.count("queued") >= 1:
                cluster.remove_node(nodes[0], allow_graceful=False)
                killed = True
        assert killed
        complete(suite, rows, retried=1)
    finally:
        cluster.shutdown()


def test_ray_without_a_cluster_is_one_clear_line() -> None:
    need("ray")
    with pytest.raises(UserError, match="ray start --head") as error:
        make_executor("ray", 1, "cpu", {"address": "127.0.0.1:1"})
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("cluster", ["local", "debug"])
def test_slurm_scripts_work_through_a_suite(suite: Path, cluster: str) -> None:
    need("submitit")
    executor = make_executor("slurm", 2, "cpu", {"cluster": cluster, "timeout_min": 10})
    rows = list(drive(open_suite(suite), executor))[-1]
    complete(suite, rows, retried=0)
    workers = {row.owner for row in rows}
    assert len(workers) <= 2


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGUSR2], ids=["killed", "out of time"])
def test_a_slurm_worker_that_is_ended_from_outside_comes_back(suite: Path, number: signal.Signals) -> None:
    """SIGUSR2 is what submitit asks SLURM to send before a job's time is up."""
    need("submitit")
    executor = make_executor("slurm", 1, "cpu", {"cluster": "local", "timeout_min": 10})
    killed = False
    rows: list[JobRow] = []
    for rows in drive(open_suite(suite), executor):
        if not killed and any(row.state == "running" for row in rows):
            killed = signal_worker(rows, suite, number)
    assert killed
    complete(suite, rows, retried=1)


def signal_worker(rows: list[JobRow], suite: Path, number: signal.Signals) -> bool:
    """Signals the process that holds the lock of the worker which has a job, as the kernel lists it."""
    owner = next(row.owner for row in rows if row.state == "running")
    lock = table_file(suite).with_suffix(".workers") / f"{owner}.lock"
    for folder in Path("/proc").glob("[0-9]*/fd"):
        try:
            opened = {entry.readlink() for entry in folder.iterdir()}
        except OSError:
            continue
        if lock in opened:
            os.kill(int(folder.parent.name), number)
            return True
    return False


def test_slurm_that_is_not_here_is_one_clear_line(suite: Path) -> None:
    need("submitit")
    executor = make_executor("slurm", 1, "cpu", {"partition": "gpu"})
    task = Work(suite.parent / "t.sqlite", suite.parent, suite.parent, suite.parent)
    with pytest.raises(UserError, match="SLURM refuses the workers") as error:
        executor.start(task, 1)
    assert "\n" not in str(error.value)
