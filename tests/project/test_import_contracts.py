"""The dependency direction is enforced for folders that import-linter alone would not see."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of the packages: the check reads sources and needs nothing else."""
    for name in ("uadbench", "methods", "datasets"):
        shutil.copytree(
            ROOT / name, tmp_path / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__", ".*.tmp")
        )
    return tmp_path


def lint(checkout: Path) -> subprocess.CompletedProcess[str]:
    subprocess.run([sys.executable, ROOT / "tools/import_contracts.py", checkout], check=True)
    command = [Path(sys.executable).with_name("lint-imports"), "--config", ".importlinter", "--no-cache", "--no-logo"]
    environment = {**os.environ, "PYTHONPATH": str(checkout)}
    return subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True)


def test_the_checkout_keeps_its_contracts(checkout: Path) -> None:
    result = lint(checkout)
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize(
    ("file", "line", "contract"),
    [
        (
            "methods/position/method.py",
            "import uadbench.methods.random.method",
            "Imports go downwards",
        ),
        ("methods/position/method.py", "from uadbench.runner.planning.plan import Plan", "Imports go downwards"),
        ("uadbench/core/seeding.py", "from uadbench.data.storage.store import Store", "Imports go downwards"),
        ("uadbench/runner/planning/plan.py", "import uadbench.methods.position.method", "by registry name only"),
        ("uadbench/runner/planning/plan.py", "import uadbench.runner.execution.run", "No cycle"),
        ("uadbench/evaluation/__init__.py", "import torch", "need no torch"),
        ("uadbench/report/__init__.py", "from uadbench.data.storage.store import Store", "records and metrics alone"),
    ],
)
def test_a_planted_violation_is_found(checkout: Path, file: str, line: str, contract: str) -> None:
    target = checkout / file
    target.write_text(target.read_text() + f"\n{line}\n")
    result = lint(checkout)
    assert result.returncode == 1, result.stdout + result.stderr
    broken = [row for row in result.stdout.splitlines() if row.endswith("BROKEN") or " BROKEN" in row]
    assert any(contract in row for row in broken), result.stdout


def test_phantom_generators_stay_out_of_reach(checkout: Path) -> None:
    folder = checkout / "datasets/planted"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "phantom.py").write_text("SECRET = 1\n")
    target = checkout / "uadbench/evaluation/__init__.py"
    target.write_text(target.read_text() + "\nimport uadbench.datasets.planted.phantom\n")
    result = lint(checkout)
    assert result.returncode == 1
    assert "uadbench.datasets.planted.phantom" in result.stdout


def test_a_package_without_a_place_is_named(checkout: Path) -> None:
    (checkout / "uadbench/planted").mkdir()
    (checkout / "uadbench/planted/__init__.py").write_text("")
    result = subprocess.run(
        [sys.executable, ROOT / "tools/import_contracts.py", checkout], capture_output=True, text=True
    )
    assert result.returncode == 1
    assert "uadbench/planted" in result.stderr


def rooms(checkout: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, ROOT / "tools/layout.py", checkout], capture_output=True, text=True)


def test_no_room_is_too_full_and_no_file_too_long(checkout: Path) -> None:
    result = rooms(checkout)
    assert result.returncode == 0, result.stderr
    (checkout / "uadbench/records/long.py").write_text("x = 1\n" * 400)
    for number in range(21):
        (checkout / f"uadbench/inference/planted{number}.py").write_text("")
    planted = rooms(checkout)
    assert planted.returncode == 1
    assert "uadbench/records/long.py has 400 lines" in planted.stderr
    assert "uadbench/inference holds" in planted.stderr
