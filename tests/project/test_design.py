"""The walk of one image through docs/explanation/design.md: its files exist, and each imports what it hands on to."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HANDS_ON = [
    ("runner/planning/datasets.py", "core/phantom_fingerprint.py"),
    ("runner/planning/plan.py", "core/job.py"),
    ("runner/execution/run.py", "runner/storage/run_folder.py"),
    ("runner/execution/run.py", "runner/execution/device.py"),
    ("runner/execution/run.py", "runner/execution/probe.py"),
    ("runner/execution/run.py", "runner/execution/fit.py"),
    ("runner/execution/run.py", "runner/execution/fit_context.py"),
    ("runner/execution/run.py", "runner/execution/predictions.py"),
    ("runner/execution/run.py", "runner/scoring/score_run.py"),
    ("runner/execution/fit.py", "data/storage/batches.py"),
    ("runner/execution/predictions.py", "runner/execution/fixed_batch.py"),
    ("runner/execution/predictions.py", "runner/storage/maps.py"),
    ("tuning/fits.py", "runner/execution/fit.py"),
    ("tuning/judge.py", "runner/execution/predictions.py"),
    ("inference/new_images.py", "runner/execution/predictions.py"),
    ("inference/sklearn_detector.py", "runner/execution/predictions.py"),
    ("runner/scoring/score_run.py", "runner/storage/stored_cases.py"),
    ("runner/scoring/score_run.py", "evaluation/scoring/score.py"),
    ("evaluation/scoring/score.py", "evaluation/protocol/thresholds.py"),
    ("evaluation/scoring/score.py", "evaluation/scoring/summary.py"),
    ("report/build.py", "records/read.py"),
    ("report/build.py", "report/tables/tables.py"),
]


def walk() -> str:
    text = (ROOT / "docs/explanation/design.md").read_text(encoding="utf-8")
    return text.partition("## One image")[2].partition("\n## ")[0]


def test_every_place_of_the_walk_exists() -> None:
    named = re.findall(r"`([a-z_<>/]+(?:\.py|/))`", walk())
    assert len(named) > 25
    for name in {name for name in named if "runs/" not in name and "maps/" not in name}:
        places = list((ROOT / "uadbench").glob(name.replace("<name>", "*")))
        assert places or name == "score_run.py", name


@pytest.mark.parametrize(("giver", "taker"), HANDS_ON)
def test_a_file_of_the_walk_imports_the_next(giver: str, taker: str) -> None:
    module = "uadbench." + taker.removesuffix(".py").replace("/", ".")
    text = (ROOT / "uadbench" / giver).read_text(encoding="utf-8")
    assert re.search(rf"^\s*from {re.escape(module)} import", text, re.MULTILINE), f"{giver} no longer uses {taker}"
    if giver.startswith("runner/") or giver.startswith("evaluation/") or giver.startswith("report/"):
        assert taker in walk()
