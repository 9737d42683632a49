"""One job on two processors: the same row, and the same weights score alike."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.support.command import uadbench
from tests.support.processors import PLAIN

pytestmark = pytest.mark.slow

KEPT = ("config.yaml", "weights.safetensors", "train_s.txt", "log.jsonl")
"""What a run folder holds between fit and predict."""


def run(method: str, out: Path, environment: dict[str, str], *more: str) -> dict[str, Any]:
    job = ["run", "--method", method, "--dataset", "carotid_us", "--precision", "fp32", "--json", "--out", out]
    done = uadbench(*map(str, job), *more, environment=environment)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("method", ["synomaly", "autoencoder"])
def test_the_same_weights_score_alike(method: str, tmp_path: Path) -> None:
    here = run(method, tmp_path / "here", {}, "--preset", "smoke")
    fitted = tmp_path / "plain" / here["id"]
    fitted.mkdir(parents=True)
    for name in KEPT:
        shutil.copy(tmp_path / "here" / here["id"] / name, fitted)
    plain = run(method, tmp_path / "plain", PLAIN, "--preset", "smoke")
    assert plain["id"] == here["id"]
    assert plain["env"]["cpu"] != here["env"]["cpu"]
    weights = [(tmp_path / name / here["id"] / "weights.safetensors").read_bytes() for name in ("here", "plain")]
    assert weights[0] == weights[1], "they were fitted once"
    difference = plain["metrics"]["case_ap"]["value"] - here["metrics"]["case_ap"]["value"]
    assert abs(difference) < 0.002


def test_runs_of_two_processors_share_a_row(tmp_path: Path) -> None:
    for seed, environment in enumerate(({}, PLAIN)):
        run("intensity", tmp_path / "runs", environment, "--preset", "quick", "--seed", str(seed))
    done = uadbench("report", "--records", str(tmp_path / "runs"), "--out", str(tmp_path / "board"))
    assert done.returncode == 0, done.stderr
    rows = pd.read_csv(tmp_path / "board" / "leaderboard" / "leaderboard.csv")
    ours = rows[(rows["method"] == "intensity") & (rows["metric"] == "case_ap")]
    assert len(ours) == 1
    assert ours["seeds"].item() == "0 1"
