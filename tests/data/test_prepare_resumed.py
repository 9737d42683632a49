"""``prepare`` goes on where it was interrupted: nothing is converted twice, and the store is that of one go."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support import sweep_data
from tests.support.brain_data import brats21
from tests.support.chaos_data import chaos
from tests.support.folder_data import listed
from tests.support.liver_data import lits
from tests.support.momot_data import momot
from uadbench.core.dataset import Dataset, Recipe, no_progress
from uadbench.core.errors import DataError, JobFailed
from uadbench.core.roles import Role
from uadbench.data.storage.store import Store, StoreWriter
from uadbench.datasets.brain_mri import BrainMri
from uadbench.datasets.brain_mri import dataset as brain_mri
from uadbench.datasets.carotid_us import CarotidUS, sweeps
from uadbench.datasets.carotid_us import momot as carotid_us
from uadbench.datasets.folder import Folder
from uadbench.datasets.folder import dataset as folder
from uadbench.datasets.liver_ct import LiverCT
from uadbench.datasets.liver_ct import prepare as liver_ct
from uadbench.datasets.liver_ct.layouts import committed_split

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Raw:
    """A dataset, the module that calls its converter, and a writer of tiny raw files."""

    dataset: Dataset
    module: Any
    make: Callable[[Path], Path]

    def prepare(self, source: Path, out: Path, recipe: Recipe = "strict", workers: int = 1) -> None:
        self.dataset.prepare(source, out, recipe, workers, no_progress)


RAW = {
    "brain_mri": Raw(BrainMri("t2"), brain_mri, lambda root: brats21(root, 8)),
    "liver_ct": Raw(LiverCT(), liver_ct, lits),
    "liver_ct of folders": Raw(LiverCT(), liver_ct, chaos),
    "carotid_us": Raw(CarotidUS(), carotid_us, momot),
    "carotid_us of sweeps": Raw(CarotidUS(), sweeps, sweep_data.sweeps),
    "folder": Raw(Folder(), folder, listed),
}


class Watched:
    """A converter that notes what it converts, and ends in some way when it comes to the job of a number."""

    def __init__(
        self, raw: Raw, patch: pytest.MonkeyPatch, at: int = -1, end: Callable[[], None] = lambda: None
    ) -> None:
        self.jobs: list[Any] = []
        convert = raw.module.convert

        def watched(job: Any, **options: Any) -> Any:
            if len(self.jobs) == at:
                end()
            self.jobs.append(job)
            return convert(job, **options)

        patch.setattr(raw.module, "convert", watched)


def raising(error: type[BaseException]) -> Callable[[], None]:
    def end() -> None:
        raise error("stopped")

    return end


def interrupt(raw: Raw, source: Path, out: Path, after: int = 3, error: type[BaseException] = KeyboardInterrupt) -> Any:
    """Prepares until the next conversion ends in an error; returns the jobs whose items are kept."""
    with pytest.MonkeyPatch.context() as patch:
        watched = Watched(raw, patch, after, raising(error))
        with pytest.raises(error):
            raw.prepare(source, out)
    assert not out.exists()
    return watched.jobs


def prepared_again(raw: Raw, source: Path, out: Path, recipe: Recipe = "strict") -> list[Any]:
    """Prepares to the end; returns the jobs that were converted."""
    with pytest.MonkeyPatch.context() as patch:
        watched = Watched(raw, patch)
        raw.prepare(source, out, recipe)
    return watched.jobs


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def hidden(root: Path) -> list[str]:
    return [path.name for path in root.iterdir() if path.name.startswith(".")]


def wait_for_death(source: str, out: str, name: str) -> None:
    """What the process does that is killed: it prepares three jobs, says so, and waits."""

    def end() -> None:
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        time.sleep(120)

    with pytest.MonkeyPatch.context() as patch:
        Watched(RAW[name], patch, 3, end)
        RAW[name].prepare(Path(source), Path(out))


@pytest.mark.parametrize("name", RAW)
@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_an_interrupted_store_is_that_of_one_go(tmp_path: Path, name: str, error: type[BaseException]) -> None:
    raw = RAW[name]
    source = raw.make(tmp_path / "raw")
    every = prepared_again(raw, source, tmp_path / "whole")
    first = interrupt(raw, source, tmp_path / "out", error=error)
    assert first == every[:3]
    assert hidden(tmp_path) == [".out.partial"]
    assert prepared_again(raw, source, tmp_path / "out") == every[3:]
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")
    Store(tmp_path / "out").verify()
    assert hidden(tmp_path) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", RAW)
def test_a_killed_process_leaves_what_it_had_done(tmp_path: Path, name: str) -> None:
    raw = RAW[name]
    source = raw.make(tmp_path / "raw")
    every = prepared_again(raw, source, tmp_path / "whole")
    arguments = (str(source), str(tmp_path / "out"), name)
    call = f"from tests.data.test_prepare_resumed import wait_for_death; wait_for_death{arguments}"
    process = subprocess.Popen(
        [sys.executable, "-c", call], cwd=ROOT, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": "."}
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        with pytest.raises(DataError, match="Another process is writing"):
            raw.prepare(source, tmp_path / "out")
    finally:
        process.kill()
        process.communicate()
    assert not (tmp_path / "out").exists()
    assert prepared_again(raw, source, tmp_path / "out") == every[3:]
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")
    assert hidden(tmp_path) == []


@pytest.mark.slow
def test_it_may_be_interrupted_again_and_by_several_workers(tmp_path: Path) -> None:
    raw = RAW["folder"]
    source = raw.make(tmp_path / "raw")
    every = prepared_again(raw, source, tmp_path / "whole")
    assert interrupt(raw, source, tmp_path / "out", after=2) == every[:2]
    assert interrupt(raw, source, tmp_path / "out", after=4) == every[2:6]
    raw.prepare(source, tmp_path / "out", workers=2)
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def dying(job: Any, at: Any) -> Any:
    """Converts a row of a folder; the worker that gets a certain one is killed, as it is when memory runs out."""
    if job == at:
        os.kill(os.getpid(), signal.SIGKILL)
    return folder.convert(job)


@pytest.mark.slow
def test_a_killed_worker_is_told_and_loses_nothing(tmp_path: Path) -> None:
    raw = RAW["folder"]
    source = raw.make(tmp_path / "raw")
    every = prepared_again(raw, source, tmp_path / "whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(raw.module, "convert", partial(dying, at=every[3]))
        with pytest.raises(JobFailed, match=r"One of 2 workers was killed.*fewer --workers"):
            raw.prepare(source, tmp_path / "out", workers=2)
    assert not (tmp_path / "out").exists()
    again = prepared_again(raw, source, tmp_path / "out")
    assert again in (every[2:], every[3:])
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def touched(source: Path) -> Path:
    path = next((source / "segmentations").iterdir())
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))
    return source


def with_another_patient(source: Path) -> Path:
    return lits(source, [max(committed_split())])


def copied(source: Path) -> Path:
    return shutil.copytree(source, source.with_name("copy"))


def as_it_is(source: Path) -> Path:
    return source


@pytest.mark.parametrize(
    ("change", "recipe", "said"),
    [
        (touched, "strict", "with different source files"),
        (with_another_patient, "strict", "with different cases and source files"),
        (copied, "strict", "with different cases"),
        (as_it_is, "paper", "with different recipe or options"),
    ],
)
def test_what_another_prepare_left_is_not_used(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, change: Callable[[Path], Path], recipe: Recipe, said: str
) -> None:
    raw = RAW["liver_ct"]
    source = raw.make(tmp_path / "raw")
    interrupt(raw, source, tmp_path / "out")
    source = change(source)
    every = prepared_again(raw, source, tmp_path / "whole", recipe)
    assert prepared_again(raw, source, tmp_path / "out", recipe) == every
    assert [said in line and line.endswith("it is not used.") for line in caplog.messages] == [True]
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_what_was_left_of_another_modality_is_not_used(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    source = brats21(tmp_path / "raw", 3)
    interrupt(RAW["brain_mri"], source, tmp_path / "out", after=2)
    other = Raw(BrainMri("t1"), brain_mri, RAW["brain_mri"].make)
    assert len(prepared_again(other, source, tmp_path / "out")) == 3
    assert "recipe or options and cases" in caplog.text


@pytest.mark.parametrize("damage", ["pixels", "too few pixels", "torn line", "not JSON", "half a job more"])
def test_only_what_is_whole_is_used(tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture) -> None:
    raw = RAW["liver_ct"]
    source = raw.make(tmp_path / "raw")
    every = prepared_again(raw, source, tmp_path / "whole")
    interrupt(raw, source, tmp_path / "out")
    journal = tmp_path / ".out.partial" / "journal.jsonl"
    image = tmp_path / ".out.partial" / "store" / "image.bin"
    data, lines = bytearray(image.read_bytes()), journal.read_bytes()
    if damage == "pixels":
        data[-1] ^= 1
    elif damage == "too few pixels":
        del data[-1:]
    elif damage == "half a job more":
        data += b"half a slice"
    else:
        lines = lines[:-9] if damage == "torn line" else lines[:-9] + b"no JSON\n"
    image.write_bytes(data)
    journal.write_bytes(lines)
    whole = 3 if damage == "half a job more" else 2
    assert prepared_again(raw, source, tmp_path / "out") == every[whole:]
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")
    assert caplog.messages == []


def test_all_jobs_may_be_done_when_it_is_interrupted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(path: Path, target: Path) -> None:
        raise KeyboardInterrupt

    raw = RAW["carotid_us"]
    source = raw.make(tmp_path / "raw")
    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", stopped)
        with pytest.raises(KeyboardInterrupt):
            raw.prepare(source, tmp_path / "out")
    assert prepared_again(raw, source, tmp_path / "out") == []
    raw.prepare(source, tmp_path / "whole")
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_bad_input_clears_what_was_kept(tmp_path: Path) -> None:
    raw = RAW["folder"]
    source = raw.make(tmp_path / "raw")
    interrupt(raw, source, tmp_path / "out")
    interrupt(raw, source, tmp_path / "out", error=DataError)
    assert hidden(tmp_path) == []


def test_a_store_that_is_added_to_alone_keeps_nothing(tmp_path: Path) -> None:
    def add(end: Callable[[], None]) -> None:
        with StoreWriter(tmp_path / "s", dataset="d", version="1", source="phantom", recipe="r") as writer:
            image, plane = np.zeros((1, 4, 4)), np.ones((4, 4))
            writer.add(
                uid="a", case="a", patient="a", role=Role.TRAIN, cohort="c", image=image, body=plane, mask=0 * plane
            )
            end()

    with pytest.raises(KeyboardInterrupt):
        add(raising(KeyboardInterrupt))
    assert list(tmp_path.iterdir()) == []
    add(lambda: None)
    Store(tmp_path / "s").verify()
