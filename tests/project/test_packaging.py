"""The wheel holds what the folders hold: links become files, and nothing is left out."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.support.shipped import DATASET_NAMES, METHOD_NAMES

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel of the tracked files, built outside the working tree."""
    source = tmp_path_factory.mktemp("source")
    listed = subprocess.run(["git", "ls-files", "-z", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True)
    if listed.returncode:
        pytest.fail("git ls-files does not work here: the test builds from a checkout")
    for name in filter(None, listed.stdout.decode().split("\0")):
        file = ROOT / name
        target = source / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if file.is_symlink():
            target.symlink_to(file.readlink())
        elif file.is_file():
            target.write_bytes(file.read_bytes())
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", out, source]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return next(out.glob("*.whl"))


def test_the_wheel_holds_every_file_of_methods_and_datasets(wheel: Path) -> None:
    packed = {item.filename: item for item in zipfile.ZipFile(wheel).infolist()}
    for folder in ("methods", "datasets", "experiments"):
        for file in (ROOT / folder).rglob("*"):
            if file.suffix in (".py", ".json", ".yaml", ".csv", ".md") and "tests" not in file.parts:
                name = f"uadbench/{file.relative_to(ROOT).as_posix()}"
                assert name in packed, f"{name} is not in the wheel"
                assert packed[name].file_size == file.stat().st_size
    for file in (ROOT / "uadbench/report/site/templates").iterdir():
        assert f"uadbench/report/site/templates/{file.name}" in packed
    assert "uadbench/py.typed" in packed
    assert not {name.split("/")[0] for name in packed} & {"methods", "datasets", "tests", "experiments"}


def test_an_installed_wheel_lists_the_same_names(wheel: Path, tmp_path: Path) -> None:
    zipfile.ZipFile(wheel).extractall(tmp_path)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    code = "import json, uadbench; from uadbench.core.catalog import METHODS as M, DATASETS as D;"
    code += "print(json.dumps([uadbench.__file__, M.names(), D.names()]))"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    where, methods, datasets = json.loads(done.stdout)
    assert where.startswith(str(tmp_path))
    assert methods == METHOD_NAMES
    assert datasets == DATASET_NAMES


def test_a_clone_without_symbolic_links_says_so(wheel: Path, tmp_path: Path) -> None:
    zipfile.ZipFile(wheel).extractall(tmp_path)
    link = tmp_path / "uadbench/methods"
    link.rename(tmp_path / "moved")
    link.write_text("../methods")  # what git writes where it may not make links
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-m", "uadbench", "list", "methods"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert "symbolic links" in done.stderr
    assert "Traceback" not in done.stderr
