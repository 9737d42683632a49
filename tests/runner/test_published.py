"""Published values in a run: the label, the ledger, the line of output, and the check of a run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.command import uadbench
from tests.support.stores import write_store
from uadbench.data.storage.store import Store
from uadbench.methods.synomaly.config import SynomalyConfig
from uadbench.runner.execution.ledger import make_ledger
from uadbench.runner.planning.plan import plan_run


@pytest.fixture(scope="module")
def carotid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_store(
        tmp_path_factory.mktemp("store") / "us", modality="us-carotid", version="2", source="real", recipe="strict"
    )


def test_published_values_are_part_of_the_base_label(carotid: Path) -> None:
    store = Store(carotid)
    plan = plan_run(method="synomaly", train=store, preset="smoke")
    assert plan.job.method.label == "synomaly"
    assert plan.job.method.config["sigma"] == 7.0
    changed = plan_run(method="synomaly", train=store, preset="smoke", overrides={"sigma": 3.0})
    assert changed.job.method.label == "synomaly[sigma=3.0]"


def test_the_ledger_says_how_they_were_chosen_and_whether_on_the_test_cohort(
    carotid: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = make_ledger(plan_run(method="synomaly", train=Store(carotid), preset="smoke"), 1, {})
    assert "us-carotid" in ledger.published
    assert "chosen on its authors' test lesions" in ledger.published
    assert not ledger.published_seen
    brats = Store(write_store(tmp_path / "mr", name="brats21", modality="mr-brain-flair"))
    assert make_ledger(plan_run(method="synomaly", train=brats, preset="smoke"), 1, {}).published_seen
    # the cohort is that of the test data
    plan = plan_run(method="synomaly", train=brats, test=Store(carotid), preset="smoke")
    assert not make_ledger(plan, 1, {}).published_seen
    monkeypatch.setattr(SynomalyConfig, "PUBLISHED", ())
    nothing = make_ledger(plan_run(method="synomaly", train=brats, preset="smoke"), 1, {})
    assert (nothing.published, nothing.published_seen) == ("", False)


@pytest.mark.slow
def test_a_run_says_in_one_line_what_was_applied_and_verifies(carotid: Path, tmp_path: Path) -> None:
    command = ["run", "--method", "synomaly", "--dataset", "carotid_us", "--source", str(carotid), "--preset", "smoke"]
    result = uadbench(*command, "--json", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    told = " ".join(result.stderr.split())
    assert "Values published for us-carotid" in told
    assert "sigma 7.0, threshold 150.0, offset 0.5" in told
    record = json.loads(result.stdout)
    assert record["method"]["config"]["sigma"] == 7.0
    verified = uadbench("verify", f"runs/{record['id']}", "--source", str(carotid), cwd=tmp_path)
    assert verified.returncode == 0, verified.stdout + verified.stderr


def test_show_config_names_every_origin(carotid: Path, tmp_path: Path) -> None:
    command = ["show-config", "--method", "synomaly", "--dataset", "carotid_us", "--json"]
    for source in ([], ["--source", str(carotid)]):
        result = uadbench(*command, *source, "--preset", "standard", "--set", "t=120", cwd=tmp_path)
        assert result.returncode == 0, result.stderr
        config = json.loads(result.stdout)["config"]
        assert set(config) == set(SynomalyConfig.model_fields)
        assert config["sigma"] == {"value": 7.0, "origin": "published"}
        assert config["map_k"] == {"value": 15, "origin": "published"}
        assert config["t"] == {"value": 120, "origin": "set"}
        assert config["network"] == {"value": "guided", "origin": "preset"}
        assert config["change"] == {"value": 0.01, "origin": "default"}
    wrong = uadbench(*command, "--preset", "quik", cwd=tmp_path)
    assert wrong.returncode == 2
    assert "Did you mean quick" in wrong.stderr
