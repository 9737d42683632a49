"""Run folders of another version, and from before they carried one."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from tests.support.command import uadbench
from tests.support.pictures import grey
from uadbench.cli import app
from uadbench.core.dataset import no_progress
from uadbench.core.errors import DataError
from uadbench.data.storage.store import Store
from uadbench.inference.fitted import load_fitted
from uadbench.runner.execution.run import execute
from uadbench.runner.planning.plan import Plan, plan_run
from uadbench.runner.storage.open_run import open_run
from uadbench.runner.storage.run_folder import VERSION, RunFolder


def plan(store: Path) -> Plan:
    return plan_run(method="mean_residual", train=Store(store), preset="smoke")


@pytest.fixture(scope="module")
def finished(tiny_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return execute(plan(tiny_store), root=tmp_path_factory.mktemp("runs"), device="cpu")[1]


def another(finished: Path, root: Path, line: str) -> Path:
    """A copy of the run whose config.yaml begins with another line."""
    folder = shutil.copytree(finished, root / finished.name)
    old = f"folder_version: {VERSION}\n"
    text = (folder / "config.yaml").read_text()
    assert text.startswith(old)
    (folder / "config.yaml").write_text(line + text.removeprefix(old))
    return folder


def files(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_a_folder_from_before_versions_is_opened(finished: Path, tiny_store: Path, tmp_path: Path) -> None:
    folder = another(finished, tmp_path, "")
    assert RunFolder(folder).job() == plan(tiny_store).job
    assert open_run(folder, str(tiny_store), None, no_progress).record.status == "done"
    assert load_fitted(folder, "cpu").job == plan(tiny_store).job
    _, _, stored = execute(plan(tiny_store), root=tmp_path, device="cpu")
    assert stored


@pytest.mark.parametrize("version", ["0", "[", "", "1" * 90, "1 1"])
def test_what_is_not_this_version_is_another(version: str, finished: Path, tmp_path: Path) -> None:
    folder = RunFolder(another(finished, tmp_path, f"folder_version: {version}\n"))
    for read in (folder.record, folder.finished_record, folder.job, folder.require_version):
        with pytest.raises(DataError, match=f"this is version {VERSION}"):
            read()


@pytest.mark.parametrize("command", ["run", "predict", "verify", "evaluate", "submit", "resume"])
def test_a_folder_of_another_version_says_to_run_again(
    command: str, finished: Path, tiny_store: Path, tmp_path: Path
) -> None:
    folder = another(finished, tmp_path, f"folder_version: {VERSION + 1}\n")
    if command == "resume":  # what an interrupted run has left: no record yet
        (folder / "record.json").unlink()
    source = ["--source", str(tiny_store)]
    again = ["run", "--method", "mean_residual", "--dataset", "carotid_us", "--preset", "smoke", "--out", str(tmp_path)]
    arguments = {
        "run": [*again, *source],
        "resume": [*again, *source],
        "predict": ["predict", "--run", str(folder), "--input", str(grey(tmp_path / "a.png")), "--out", "maps"],
        "verify": ["verify", str(folder), *source],
        "evaluate": ["evaluate", "--run", str(folder), *source],
        "submit": ["submit", str(folder), "--out", str(tmp_path / "a.zip"), *source],
    }[command]
    before = files(folder)
    result = CliRunner().invoke(app, arguments)
    assert isinstance(result.exception, DataError), result.output
    assert result.exception.exit_code == 2
    said = str(result.exception)
    assert f"{folder} is a run folder of version {VERSION + 1}, this is version {VERSION}. Run it again" in said
    assert files(folder) == before


def test_it_is_one_line_and_exit_code_2(finished: Path, tiny_store: Path, tmp_path: Path) -> None:
    folder = another(finished, tmp_path, "folder_version: 99\n")
    ended = uadbench("evaluate", "--run", str(folder), "--source", str(tiny_store))
    assert ended.returncode == 2
    assert ended.stdout == ""
    assert "is a run folder of version 99" in ended.stderr
    assert len(ended.stderr.strip().splitlines()) == 1


def test_fresh_makes_it_anew(finished: Path, tiny_store: Path, tmp_path: Path) -> None:
    folder = another(finished, tmp_path, "folder_version: 99\n")
    with pytest.raises(DataError, match="version 99"):
        execute(plan(tiny_store), root=tmp_path, device="cpu")
    execute(plan(tiny_store), root=tmp_path, device="cpu", fresh=True)
    assert yaml.safe_load((folder / "config.yaml").read_text())["folder_version"] == VERSION


def test_weights_of_another_version_are_not_taken_for_the_same_fit(
    finished: Path, tiny_store: Path, tmp_path: Path
) -> None:
    fits = finished.parent / ".fits"
    shutil.copytree(fits, tmp_path / ".fits")
    folder = another(finished, tmp_path, "folder_version: 99\n")
    before = files(folder)
    other = plan_run(method="mean_residual", train=Store(tiny_store), preset="smoke", overrides={"predict_batch": 3})
    record, path, _ = execute(other, root=tmp_path, device="cpu")
    assert record.status == "done"
    assert path != folder
    assert files(folder) == before
