"""Atomic writes: whole or nothing, whatever ends the writer, and nothing is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from tests.support.disks import small_disk
from uadbench.core.errors import DataError
from uadbench.core.files import atomic_text, atomic_write, expanded, reserve, sweep_leftovers

KILLED = """
import os, signal, sys
from pathlib import Path
from uadbench.core.files import atomic_text
sys.addaudithook(lambda event, args: event == "uadbench.write" and args[0] == sys.argv[2] and os.kill(os.getpid(), 9))
atomic_text(Path(sys.argv[1]), "new" * 1000)
"""

WRITE = "import sys; from pathlib import Path; from uadbench.core.files import atomic_text; \
atomic_text(Path(sys.argv[1]), 'x')"


def listed(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def kill_while_writing(file: Path, stage: str) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, str(file), stage], check=False)
    assert done.returncode == -signal.SIGKILL


def test_an_error_while_writing_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    file = atomic_text(tmp_path / "table.csv", "old")

    def half(part: Path) -> None:
        part.write_text("ne")
        raise ValueError("no number")

    with pytest.raises(ValueError, match="no number"):
        atomic_write(file, half)
    assert file.read_text() == "old"
    assert listed(tmp_path) == ["table.csv"]


def test_a_folder_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    def two_files(part: Path) -> None:
        part.mkdir()
        (part / "a").write_text("a")
        if not (tmp_path / "ready").exists():
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        atomic_write(tmp_path / "folder", two_files)
    assert listed(tmp_path) == []
    (tmp_path / "ready").touch()
    atomic_write(tmp_path / "folder", two_files)
    assert listed(tmp_path) == ["folder", "ready"]


@pytest.mark.parametrize(("stage", "content"), [("written", "old"), ("renamed", "new" * 1000)])
def test_what_a_killed_writer_left_is_swept_by_the_next_process(tmp_path: Path, stage: str, content: str) -> None:
    file = atomic_text(tmp_path / "record.json", "old")
    kill_while_writing(file, stage)
    assert file.read_text() == content
    assert len(listed(tmp_path)) == (2 if stage == "written" else 1)
    subprocess.run([sys.executable, "-c", WRITE, str(tmp_path / "other.json")], check=True)
    assert listed(tmp_path) == ["other.json", "record.json"]


def test_parts_of_a_live_process_and_files_of_others_are_never_swept(tmp_path: Path) -> None:
    file = tmp_path / "record.json"
    kill_while_writing(file, "written")
    part = next(tmp_path.iterdir())
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as other:
        fields = part.name.split("-")
        fields[2] = str(other.pid)
        alive = part.rename(tmp_path / "-".join(fields))
        (tmp_path / ".tmp-notes").touch()
        subprocess.run([sys.executable, "-c", WRITE, str(file)], check=True)
        assert listed(tmp_path) == sorted([".tmp-notes", alive.name, "record.json"])
        long_ago = time.time() - 2 * 86400
        os.utime(alive, (long_ago, long_ago))
        subprocess.run([sys.executable, "-c", WRITE, str(file)], check=True)
        assert listed(tmp_path) == [".tmp-notes", "record.json"]
        other.kill()


def test_a_locked_folder_is_swept_at_every_depth(tmp_path: Path) -> None:
    kill_while_writing(tmp_path / "maps" / "test" / "uids.json", "written")
    sweep_leftovers(tmp_path)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_names_as_long_as_the_system_allows_can_be_written(tmp_path: Path) -> None:
    assert atomic_text(tmp_path / ("n" * 251 + ".csv"), "x").read_text() == "x"


def test_a_folder_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "out").touch()
    with pytest.raises(DataError, match=r"Cannot write to .*out: .*Choose another --out"):
        atomic_text(tmp_path / "out" / "a.txt", "x")


def test_every_writer_says_that_the_disk_is_full(tmp_path: Path) -> None:
    import torch

    values = np.zeros(2_000_000, np.float32)
    writers: dict[str, Callable[[Path], object]] = {
        "text": lambda part: part.write_text("x" * 8_000_000),
        "numpy.npy": lambda part: np.save(part, values),
        "safetensors": lambda part: save_file({"values": values}, part),
        "torch.pt": lambda part: torch.save(torch.from_numpy(values), part),
    }
    with small_disk(tmp_path / "disk", megabytes=4) as disk:
        for name, write in writers.items():
            with pytest.raises(DataError, match=r"No space left on device\. Free some space or choose another --out"):
                atomic_write(disk / name, write)
            assert listed(disk) == []
            atomic_text(disk / name, "fits").unlink()


def test_space_that_the_disk_does_not_have_is_refused_before_it_is_mapped(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", megabytes=4) as disk:
        file = disk / "maps.npy"
        np.lib.format.open_memmap(file, mode="w+", dtype=np.float32, shape=(500_000,))
        reserve(file)
        large = np.lib.format.open_memmap(disk / "large.npy", mode="w+", dtype=np.float32, shape=(2_000_000,))
        with pytest.raises(DataError, match="No space left on device"):
            reserve(disk / "large.npy")
        del large
        assert listed(disk) == ["maps.npy"]


@pytest.mark.parametrize(
    ("told", "meant"),
    [
        ("~", "/home/jane"),
        ("~/x y", "/home/jane/x y"),
        ("--source=~/x", "--source=/home/jane/x"),
        ("folder=~/x", "folder=/home/jane/x"),
        *((text, text) for text in ("lesion=~", "a~/b", "./~/b", "~jane", "(P[0-9]+)~/", "")),
    ],
)
def test_the_home_folder_is_meant_at_the_start_of_a_path(
    told: str, meant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/jane")
    assert expanded(told) == meant
