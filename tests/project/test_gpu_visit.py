"""The visit to a GPU: its rehearsal, its limits of time and its summary."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import pytest
import torch

from benchmarks import visit
from benchmarks.gpu import measure
from benchmarks.support.rehearsal import Rehearsal
from uadbench.methods.synomaly.config import SynomalyConfig


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_parts_are_done_failed_or_stopped_and_leave_a_log(tmp_path: Path) -> None:
    assert visit.run_part("good", python("print('seen')"), 60, tmp_path).status == "done"
    assert visit.run_part("bad", python("raise SystemExit(1)"), 60, tmp_path).status == "failed"
    began = time.monotonic()
    assert visit.run_part("long", python("import time; time.sleep(60)"), 0.5, tmp_path).status == "stopped"
    assert time.monotonic() - began < 15
    assert (tmp_path / "good.log").read_text() == "seen\n"


def test_a_second_visit_leaves_out_what_is_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = tmp_path / "said"
    say = python(f"open({str(said)!r}, 'a').write('x')")

    def commands(folder: Path, *, rehearse: bool) -> dict[str, list[str]]:
        return {"tests": say, "table": python("raise SystemExit(1)")}

    monkeypatch.setattr(visit, "commands", commands)
    for _ in range(2):
        outcomes = visit.visit(tmp_path, 5, rehearse=True)
        assert [outcome.status for outcome in outcomes] == ["done", "failed"]
    assert said.read_text() == "x"
    assert [part["part"] for part in json.loads((tmp_path / "summary.json").read_text())["parts"]] == ["tests", "table"]


def test_the_limits_leave_time_to_stop() -> None:
    assert list(visit.SHARES) == list(visit.commands(Path(), rehearse=False))
    assert sum(visit.SHARES.values()) * 25 * 60 + visit.GRACE < 25 * 60


def test_a_run_is_as_long_as_its_limit_allows(tmp_path: Path) -> None:
    table, whole = tmp_path / "gpu.json", SynomalyConfig.resolve("standard").train_images

    def images(rate: float) -> int | None:
        rows = [{"work": "training step bf16", "images_per_s": rate}, {"work": "copy", "gb_per_s": 1.0}]
        table.write_text(json.dumps({"rows": rows}))
        return visit.affordable(table, 200)

    assert images(100.0) == 100 * 200 * visit.TRAINING
    assert images(whole) is None


def test_without_a_gpu_the_visit_says_so(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(sys, "argv", ["visit", "--out", "x"])
    assert visit.main() == 2
    assert "--rehearse" in capsys.readouterr().err


@pytest.mark.slow
def test_the_whole_visit_is_rehearsed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(visit, "PHANTOMS", ("carotid_us",))
    outcomes = visit.visit(tmp_path, 25, rehearse=True)
    assert {outcome.part: outcome.status for outcome in outcomes} == dict.fromkeys(
        ("tests", "table", "compile", "standard-carotid_us", "study"), "done"
    ), "\n".join(file.read_text()[-2000:] for file in tmp_path.glob("*.log"))
    rows = json.loads((tmp_path / "gpu.json").read_text())["rows"]
    assert all("rehearsed" in row for row in rows)
    assert any(row["work"].startswith("synomaly inference") for row in rows)
    assert list((tmp_path / "runs").glob("*/record.json"))
    assert list((tmp_path / "tuned").glob("synomaly/*.yaml"))


@pytest.mark.slow
def test_a_rehearsal_finds_a_tensor_of_another_device(monkeypatch: pytest.MonkeyPatch) -> None:
    def forget(_: Rehearsal, values: torch.Tensor) -> torch.Tensor:
        return torch.zeros(values.shape)

    monkeypatch.setattr(Rehearsal, "sent", forget)
    config = SynomalyConfig.resolve("quick", overrides={"direction": 1, "adaptive": False, "min_component": 0})
    bench = Rehearsal()
    with pytest.raises((AssertionError, RuntimeError)), bench.on_device():
        measure(bench, config, small=True)
    assert not any(row["work"].startswith("synomaly inference") for row in bench.rows)
