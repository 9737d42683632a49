"""Whole commands without space, without the right to write or without memory: one line, exit code 2, and they go on."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.disks import fill, remount, small_disk, used
from tests.support.folder_data import two_folders
from tests.support.kill_commands import PRELUDES
from tests.support.kill_contents import contents, differences
from tests.support.warm import Ended, Warm

pytestmark = pytest.mark.slow

REGISTER = (
    "from tests.support.tiny_dataset import registered; tiny = registered(); tiny.__enter__(); " + PRELUDES["tune"]
)
SMOKE = ["--dataset", "tiny_us", "--preset", "smoke"]
ROOM = "size=200m"


@dataclass(frozen=True)
class Place:
    """A finished run of a dataset that is registered in every command, its bundle, and raw images."""

    folder: Path
    warm: Warm
    run: Path
    bundle: Path
    raw: Path

    def __call__(self, arguments: list[str], folder: Path, **environment: str) -> Ended:
        cache = {"XDG_CACHE_HOME": str(self.folder / "cache")}
        return self.warm.run(arguments, folder, environment={**cache, **environment}, prelude=REGISTER)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Generator[Place]:
    folder = tmp_path_factory.mktemp("place")
    found = Place(folder, Warm(), folder / "run", folder / "b.zip", two_folders(folder / "raw"))
    made = found(["run", "--method", "intensity", "--dataset", "tiny_us", "--json"], folder)
    assert made.code == 0, made.said
    ran = next(path.parent for path in (folder / "runs").glob("*/record.json") if '"intensity"' in path.read_text())
    ran.rename(found.run)
    assert found(["submit", str(found.run), "--out", str(found.bundle)], folder).code == 0
    yield found
    found.warm.close()


COMMANDS: dict[str, Callable[[Place], list[str]]] = {
    "run": lambda _: ["run", "--method", "autoencoder", *SMOKE],
    "tune": lambda _: [
        *("tune", "--method", "autoencoder", *SMOKE, "--trials", "3"),
        *("--settings", "2", "--images", "4", "--out", "tuned"),
    ],
    "prepare": lambda at: ["prepare", "folder", "--source", str(at.raw), "--out", "prepared"],
    "predict": lambda at: ["predict", "--run", str(at.run), "--input", str(at.raw / "normal"), "--out", "maps"],
    "report": lambda at: ["report", "--records", str(at.run.parent), "--runs", str(at.run.parent)],
    "submit": lambda at: ["submit", str(at.run), "--out", "bundle.zip"],
    "accept": lambda at: ["verify", str(at.bundle), "--accept", "records"],
}


def refused(ended: Ended, words: str) -> None:
    assert ended.code == 2, ended
    assert ended.line.startswith("uadbench: "), ended
    assert words in ended.line, ended
    assert "Traceback" not in ended.said, ended


@pytest.mark.parametrize("name", COMMANDS)
def test_a_full_disk_is_one_line_and_the_same_command_goes_on(place: Place, tmp_path: Path, name: str) -> None:
    arguments, folder = COMMANDS[name](place), tmp_path / "disk"
    with small_disk(folder, megabytes=200) as disk:
        whole_run = place(arguments, disk)
        assert whole_run.code == 0, whole_run.said
        whole, need = contents(disk), used(disk)
    for share in (0.3, 0.8):
        with small_disk(folder, megabytes=share * need) as disk:
            ended = place(arguments, disk)
            refused(ended, "")
            assert "no space left" in ended.line.lower() or "disk is full" in ended.line
            remount(disk, ROOM)
            again = place(arguments, disk)
            assert again.code == 0, again.said
            assert differences(whole, contents(disk)) == []


def test_a_level_that_cannot_be_noted(place: Place, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", megabytes=8) as disk:
        run = Path(shutil.copytree(place.run, disk / place.run.name))
        (run / "verification.json").unlink(missing_ok=True)
        filler = fill(disk)
        refused(place(["verify", str(run)], disk), "No space left on device")
        filler.unlink()
        remount(disk, "ro")
        refused(place(["verify", str(run)], tmp_path), "Read-only file system")
        remount(disk, "rw")
        assert place(["verify", str(run)], disk).code == 0
        assert (run / "verification.json").exists()


@pytest.mark.parametrize("name", COMMANDS)
def test_a_place_that_cannot_be_written(place: Place, tmp_path: Path, name: str) -> None:
    with small_disk(tmp_path / "disk", megabytes=200) as disk:
        remount(disk, "ro")
        refused(place(COMMANDS[name](place), disk), "Read-only file system")
        remount(disk, "rw")
        again = place(COMMANDS[name](place), disk)
        assert again.code == 0, again.said


def test_a_cache_that_cannot_be_written(place: Place, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", megabytes=200) as disk:
        remount(disk, "ro")
        refused(place(COMMANDS["run"](place), tmp_path, XDG_CACHE_HOME=str(disk)), "Read-only file system")
        remount(disk, "rw")
        assert place(COMMANDS["run"](place), tmp_path, XDG_CACHE_HOME=str(disk)).code == 0


def test_a_full_temporary_folder_is_named_and_not_the_bundle(place: Place, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", megabytes=0.1) as disk:
        ended = place(["verify", str(place.bundle)], tmp_path, TMPDIR=str(disk))
        refused(ended, "No space left on device")
        assert str(disk) in ended.line
        assert "TMPDIR" in ended.line
        assert str(place.bundle) not in ended.line
        ended = place(["run", "--method", "intensity", *SMOKE, "--isolated"], tmp_path, TMPDIR=str(disk))
        refused(ended, "No space left on device")
        assert list(disk.iterdir()) == []
    assert place(["verify", str(place.bundle)], tmp_path).code == 0


@pytest.mark.parametrize("megabytes", [600, 1500])
def test_too_little_memory_is_said(place: Place, tmp_path: Path, megabytes: int) -> None:
    command = [sys.executable, "-m", "uadbench", "predict", "--run", str(place.run), "--input", str(place.raw)]
    limited = ["sh", "-c", f'ulimit -v {megabytes * 1000}; exec "$@"', "sh", *command, "--out", str(tmp_path / "maps")]
    done = subprocess.run(limited, capture_output=True, text=True, cwd=tmp_path)
    refused(Ended(done.returncode, done.stderr), "Not enough memory")
