"""What a record says of the code that made it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import uadbench
from tests.support.processors import FEATURES
from uadbench.core.numerics import PLAIN
from uadbench.core.record import Environment
from uadbench.records.environment import differing, environment


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A clone with one commit, from which the package seems to be imported."""
    package = tmp_path / "uadbench" / "__init__.py"
    package.parent.mkdir()
    package.write_text("")
    identity = ("-c", "user.name=nobody", "-c", "user.email=nobody@example.org")
    for words in (("init", "-q"), ("add", "."), (*identity, "commit", "-q", "-m", "first")):
        subprocess.run(["git", "-C", str(tmp_path), *words], check=True)
    monkeypatch.setattr(uadbench, "__file__", str(package))
    return tmp_path


def here() -> Environment:
    return environment(torch.device("cpu"), PLAIN)


def test_the_commit_is_told(clone: Path) -> None:
    head = subprocess.run(["git", "-C", str(clone), "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
    assert here().commit == head.stdout.strip()
    assert not here().dirty


@pytest.mark.parametrize("changed", ["uadbench/__init__.py", "methods/mine.py", "experiments/tuned/a.yaml"])
def test_what_a_number_may_depend_on_marks_it(clone: Path, changed: str) -> None:
    path = clone / changed
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("changed")
    assert here().dirty


def test_records_of_the_jobs_before_do_not(clone: Path) -> None:
    record = clone / "leaderboard" / "records" / "a.json"
    record.parent.mkdir(parents=True)
    record.write_text("{}")
    assert not here().dirty


def test_outside_a_clone_the_commit_is_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uadbench, "__file__", str(tmp_path / "uadbench" / "__init__.py"))
    assert here().commit == "unknown"


def test_the_record_names_the_features_in_use(tmp_path: Path) -> None:
    program = (
        "import json, torch\nfrom uadbench.records.environment import cpu_features\nprint(json.dumps(cpu_features()))\n"
    )

    def features(**variables: str) -> dict[str, str]:
        run = [sys.executable, "-c", program]
        done = subprocess.run(run, env={**os.environ, **variables}, capture_output=True, text=True, check=True)
        return json.loads(done.stdout)

    plain = features(ATEN_CPU_CAPABILITY="default", NPY_DISABLE_CPU_FEATURES=" ".join(FEATURES))
    assert plain["torch"] == "DEFAULT"
    assert not set(FEATURES) & set(plain["numpy"].split())
    assert set(FEATURES) <= set(features()["numpy"].split())


def test_what_differs_is_named_by_kind() -> None:
    env = Environment(commit="a" * 40, dirty=False, device="cpu", precision="fp32", versions={"torch": "2.1"})
    assert differing(env, env) == []
    other = env.model_copy(update={"commit": "b" * 40, "versions": {"torch": "2.2"}})
    code, rest = differing(env, other)
    assert code.startswith("code: ")
    assert rest == "environment: torch 2.1 there and 2.2 here"


@pytest.mark.parametrize(("device", "load"), [("cpu", 3.4), ("meta", None)])
def test_the_record_says_how_busy_the_cores_were(
    monkeypatch: pytest.MonkeyPatch, device: str, load: float | None
) -> None:
    monkeypatch.setattr("os.getloadavg", lambda: (3.4321, 0.0, 0.0))
    assert environment(torch.device(device), PLAIN).load == load


def test_threads_spin_briefly_only_if_nothing_else_runs_and_what_the_user_set_stays() -> None:
    code = (
        "import os, pathlib; read = pathlib.Path.read_text; "
        "said = lambda path, **how: os.environ['LOAD'] if path.name == 'loadavg' else read(path, **how); "
        "pathlib.Path.read_text = said; "
        "import uadbench; print(os.environ['OMP_WAIT_POLICY'], os.environ.get('GOMP_SPINCOUNT'))"
    )
    kept = {key: value for key, value in os.environ.items() if key not in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")}
    for load, own, said in [
        ("0.1 0.1 0.1 1/99 7", {}, "PASSIVE 20000"),
        ("0.1 0.1 0.1 3/99 7", {}, "PASSIVE None"),
        ("nonsense", {}, "PASSIVE None"),
        ("0.1 0.1 0.1 1/99 7", {"OMP_WAIT_POLICY": "ACTIVE", "GOMP_SPINCOUNT": "5"}, "ACTIVE 5"),
    ]:
        place = {**kept, **own, "LOAD": load}
        done = subprocess.run([sys.executable, "-c", code], env=place, capture_output=True, text=True, check=True)
        assert done.stdout.strip() == said
