"""How commands end that are stopped, or that lack space or memory: one line, an exit code, and the state kept."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.support.folder_data import two_folders
from uadbench.cli import app
from uadbench.cli.terminal.endings import guarded
from uadbench.core.errors import DataError, UserError
from uadbench.data.storage.store import Store

COMMAND = [sys.executable, "-m", "uadbench"]
KILLED_AT = """
import os, sys
name = sys.argv[1]
sys.addaudithook(lambda event, args: event == "uadbench.write" and args[1].endswith(name) and os.kill(os.getpid(), 9))
from uadbench.cli import main
sys.argv[1:] = sys.argv[2:]
main()
"""


def prepare(raw: Path, out: Path) -> list[str]:
    return ["prepare", "folder", "--source", str(raw), "--out", str(out)]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix != ".png"}


def test_prepare_killed_before_its_contact_sheet_is_finished_by_the_next_call(tmp_path: Path) -> None:
    raw = two_folders(tmp_path / "raw")
    subprocess.run([*COMMAND, *prepare(raw, tmp_path / "whole")], check=True, capture_output=True)
    killed = [sys.executable, "-c", KILLED_AT, "contact_sheet.png", *prepare(raw, tmp_path / "out")]
    assert subprocess.run(killed, check=False, capture_output=True).returncode == -signal.SIGKILL
    assert (tmp_path / "out" / "manifest.json").exists()
    again = subprocess.run([*COMMAND, *prepare(raw, tmp_path / "out")], check=False, capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "raw", "whole"]
    once_more = subprocess.run([*COMMAND, *prepare(raw, tmp_path / "out")], check=False, capture_output=True, text=True)
    assert once_more.returncode == 2
    assert "exists and is not empty" in once_more.stderr


def test_a_store_that_another_command_left_unchecked_is_not_finished(tmp_path: Path) -> None:
    raw, other = two_folders(tmp_path / "raw"), two_folders(tmp_path / "other", 9)
    killed = [sys.executable, "-c", KILLED_AT, "contact_sheet.png", *prepare(raw, tmp_path / "out")]
    assert subprocess.run(killed, check=False, capture_output=True).returncode == -signal.SIGKILL
    before = contents(tmp_path / "out")
    for command in (prepare(other, tmp_path / "out"), [*prepare(raw, tmp_path / "out"), "--set", "window=0,200"]):
        refused = CliRunner().invoke(app, command)
        assert isinstance(refused.exception, DataError)
        assert "unchecked store of another command" in str(refused.exception)
        assert contents(tmp_path / "out") == before
    os.utime(raw / "normal" / "n0.png", (1, 1))
    assert "other source files" in str(CliRunner().invoke(app, prepare(raw, tmp_path / "out")).exception)


def test_quoted_paths_may_start_at_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(two_folders(tmp_path / "raw"))
    assert CliRunner().invoke(app, prepare(Path("~/raw"), Path("~/out"))).exit_code == 0
    assert (tmp_path / "out" / "manifest.json").is_file()
    assert not list(Path().glob("~*"))


def test_a_refused_source_leaves_nothing(tmp_path: Path) -> None:
    raw = two_folders(tmp_path / "raw")
    (raw / "normal" / "n0.png").write_bytes(b"damaged")
    for out in (tmp_path / "out", tmp_path / "new" / "folder" / "out"):
        assert isinstance(CliRunner().invoke(app, prepare(raw, out)).exception, DataError)
    assert [path.name for path in tmp_path.iterdir()] == ["raw"]


def test_a_fresh_process_names_the_files_of_near_duplicates(tmp_path: Path) -> None:
    raw = two_folders(tmp_path / "raw")
    given = [*prepare(raw, tmp_path / "out"), "--near-duplicates", "error"]
    for n in range(8):
        (raw / "abnormal" / f"b{n}.png").write_bytes((raw / "abnormal" / f"a{n}.png").read_bytes())
        (raw / "masks" / f"b{n}.png").write_bytes((raw / "masks" / f"a{n}.png").read_bytes())

    def stopped(store: Store) -> None:
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("uadbench.datasets.folder.dataset.near_duplicates", stopped)
        CliRunner().invoke(app, given)
    assert (tmp_path / "out" / "manifest.json").exists()
    again = CliRunner().invoke(app, given)
    assert "abnormal/a" in str(again.exception)


TERMINATED_AT = KILLED_AT.replace("os.kill(os.getpid(), 9)", "os.kill(os.getpid(), 15)")


def test_a_terminated_command_says_so_in_one_line_and_goes_on_later(tmp_path: Path) -> None:
    raw = two_folders(tmp_path / "raw")
    stopped = [sys.executable, "-c", TERMINATED_AT, "contact_sheet.png", *prepare(raw, tmp_path / "out")]
    ended = subprocess.run(stopped, check=False, capture_output=True, text=True)
    assert ended.returncode == 143
    assert ended.stderr.splitlines()[-1] == "uadbench: terminated; repeat the command to resume."
    assert "Traceback" not in ended.stderr
    assert subprocess.run([*COMMAND, *prepare(raw, tmp_path / "out")], check=False, capture_output=True).returncode == 0


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "/x"), "No space left on device. Free some space"),
        (PermissionError(errno.EACCES, "Permission denied", "/x"), "/x: Permission denied. Check the permissions"),
        (ImportError("x.so: failed to map segment from shared object", name="torch"), "torch could not be loaded"),
        (MemoryError(), "Not enough memory"),
        (RuntimeError("database or disk is full"), "The disk is full"),
        (UserError("Wrong.", "Do this."), "Wrong. Do this."),
    ],
)
def test_what_the_machine_lacks_is_one_line_and_exit_code_2(
    error: Exception, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def app() -> None:
        raise error

    before = signal.getsignal(signal.SIGTERM)
    try:
        assert guarded(app) == 2
    finally:
        signal.signal(signal.SIGTERM, before)
    printed = capsys.readouterr().err
    assert said in printed
    assert printed.count("\n") == 1


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_that_an_import_turns_into_another_error_is_still_one(
    number: int, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    def app() -> None:
        try:
            os.kill(os.getpid(), number)
        except BaseException as error:
            raise RecursionError("maximum recursion depth exceeded") from error

    before = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)}
    # A shell that starts a job in the background lets it ignore Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        assert guarded(app) == code
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
    assert "repeat the command to resume" in capsys.readouterr().err


def test_a_defect_keeps_its_traceback() -> None:
    def app() -> None:
        raise KeyError("defect")

    before = signal.getsignal(signal.SIGTERM)
    try:
        with pytest.raises(KeyError):
            guarded(app)
    finally:
        signal.signal(signal.SIGTERM, before)
