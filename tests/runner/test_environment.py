"""What a record says of the code that made it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import torch

import uadbench
from uadbench.core.numerics import PLAIN
from uadbench.core.record import Environment
from uadbench.records.environment import environment


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
