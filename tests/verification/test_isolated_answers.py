"""What an isolated child may leave behind, whoever wrote it: a clear failure, at once, and nothing believed."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest

from tests.support.plugins import installed, write_method
from uadbench.core.errors import JobFailed
from uadbench.core.numerics import PLAIN
from uadbench.data.storage.store import Store
from uadbench.runner.execution import isolated as module
from uadbench.runner.execution.isolated import Isolated
from uadbench.runner.execution.order import FAILED, RESULT, Outcome
from uadbench.runner.planning.plan import plan_run
from uadbench.runner.scoring.score_run import scored_parts

OUTCOME = {"seconds": 1.0, "peak_gb": 0.1}


@pytest.fixture(scope="module")
def child(tiny_store: Path) -> Isolated:
    return Isolated(plan_run(method="position", train=Store(tiny_store), preset="smoke"), "cpu", PLAIN)


def holes(file: Path) -> None:
    """As many numbers as nobody can look at, in a file that takes no space."""
    shape = (2**36, 32)
    with file.open("wb") as stream:
        np.lib.format.write_array_header_1_0(stream, {"descr": "<f4", "fortran_order": False, "shape": shape})
        stream.truncate(stream.tell() + 4 * shape[0] * shape[1])


ANSWERS: dict[str, Callable[[Path], object]] = {
    "a single number": lambda file: np.save(file, np.float32(1)),
    "texts": lambda file: np.save(file, np.array(["a", "b"])),
    "structures": lambda file: np.save(file, np.zeros(3, "f4,i4")),
    "a header that ends the parser": lambda file: file.write_bytes(
        b"\x93NUMPY\x01\x00" + (10_000).to_bytes(2, "little") + b"-" * 9999 + b"1"
    ),
    "holes": holes,
}


@pytest.mark.parametrize("name", ANSWERS)
def test_hostile_maps_fail_the_job(child: Isolated, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    def run(self: Isolated, phase: str, lent: Path, work: Path) -> Outcome:
        for part in (path for path in lent.iterdir() if path.is_dir()):
            (work / part.name).mkdir()
            ANSWERS[name](work / part.name / "maps.npy")
        return Outcome(seconds=1, peak_gb=0)

    monkeypatch.setattr(Isolated, "_run", run)
    (tmp_path / "weights.safetensors").write_bytes(b"")
    plan = child.plan
    with pytest.raises(JobFailed, match=r"maps\.npy"):
        child.predict(tmp_path / "weights.safetensors", scored_parts(plan.train, plan.test), tmp_path / "maps")


def answering(monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    """Puts a process of one's own in the place of the child; it starts in its folder."""

    def start(box: object, arguments: list[str], lent: Path, work: Path, hidden: object, **_: object) -> object:
        return subprocess.Popen([sys.executable, "-c", code], cwd=work)

    monkeypatch.setattr(module, "start", start)


@pytest.mark.parametrize("file", [RESULT, FAILED])
def test_words_of_128_gb_are_not_read(child: Isolated, monkeypatch: pytest.MonkeyPatch, file: str) -> None:
    status = 0 if file == RESULT else 1
    answering(monkeypatch, f"import os; open({file!r}, 'wb').truncate(2**37); os._exit({status})")
    with pytest.raises(JobFailed):
        child.probe()


def test_notes_move_no_cursor(child: Isolated, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: Mapping[str, object] = {**OUTCOME, "notes": ["\x1b[2Ja\n\u202eb"]}
    answering(monkeypatch, f"open({RESULT!r}, 'w').write({json.dumps(said)!r})")
    assert child.fit([], tmp_path / "work").notes == ["[2Ja b"]


@pytest.mark.slow
def test_what_a_method_prints_is_no_answer(tiny_store: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    words = "import sys\nprint('verified (rerun)', flush=True)\nassert sys.stdin.read() == ''"
    write_method(tmp_path, "talker", fit=words)
    with installed(tmp_path, "talker"):
        plan = plan_run(method="talker", train=Store(tiny_store), preset="smoke")
        Isolated(plan, "cpu", PLAIN).fit([], tmp_path / "work")
    out, err = capfd.readouterr()
    assert "verified" not in out
    assert "verified" in err
