"""Ratios against the committed ones: what counts as a fall, and that shared cores fail nothing."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks import compare


def spin(seconds: float) -> Callable[[], None]:
    def call() -> None:
        began = time.process_time()
        while time.process_time() - began < seconds:
            pass

    return call


WORKS: compare.Works = {"twice": lambda: (spin(0.02), spin(0.01))}


def committed(tmp_path: Path, ratio: float) -> Path:
    file = tmp_path / "ratios.json"
    file.write_text(json.dumps({"machine": "m", "shared_cores": False, "ratios": {"twice": ratio}}))
    return file


def test_a_fall_beyond_the_tolerance_counts() -> None:
    assert compare.regressions({"a": 2.0, "b": 2.0}, {"a": 1.9, "b": 1.7, "new": 0.1}) == ["b"]
    assert compare.regressions({"a": 2.0}, {"a": 1.1}, compare.ACROSS_MACHINES) == []


@pytest.mark.parametrize(("busy", "ratio", "status"), [(False, 2.0, 0), (False, 50.0, 1), (True, 50.0, 0)])
def test_only_idle_cores_fail(
    busy: bool,
    ratio: float,
    status: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(compare, "is_busy", lambda: busy)
    assert compare.against_committed(committed(tmp_path, ratio), WORKS) == status
    told = capsys.readouterr().out
    assert ("SLOWER" in told) == (ratio == 50.0)
    assert ("shared" in told) == busy


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Please import `distance_transform_edt`:DeprecationWarning")
def test_the_committed_ratios_hold(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("surface_distance")
    assert set(json.loads(compare.COMMITTED.read_text())["ratios"]) == set(compare.works())
    assert compare.against_committed(compare.COMMITTED, compare.works()) == 0, capsys.readouterr().out
