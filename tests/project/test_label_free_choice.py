"""The study of label-free choice from end to end on a tiny store, and the suites that were committed for it."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Generator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from tests.support.shipped import METHOD_NAMES
from uadbench.core.catalog import METHODS
from uadbench.core.dataset import no_progress
from uadbench.core.errors import DataError
from uadbench.runner.execution.run import execute
from uadbench.runner.suites.planned_rows import plans
from uadbench.runner.suites.suite import load_suite, rows

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def tool() -> Generator[ModuleType]:
    spec = importlib.util.spec_from_file_location("label_free_choice", ROOT / "tools/label_free_choice.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its dataclasses look themselves up there
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def test_the_committed_suite_has_24_settings_a_method_and_its_default() -> None:
    suite = load_suite(ROOT / "experiments/suites/choice.yaml")
    assert set(suite.methods) == {"synomaly", "dae", "anoddpm"}
    for name in suite.methods:
        assert len(suite.variants[name]) == 24
        for values in suite.variants[name]:
            METHODS.load(name).config_type.resolve("quick", None, values)
    assert set(suite.datasets) == {"brain_mri", "liver_ct", "carotid_us", "breast_us", "folder@btp"}
    assert len(list(rows(suite))) == 3 * 25 * len(suite.seeds) * (4 + suite.folds["folder@btp"]) == 1800


def test_the_real_suite_folds_the_brains_and_tests_mslub_after_the_phantom() -> None:
    every = list(rows(load_suite(ROOT / "experiments/suites/real.yaml")))
    folds = {row.fold: row.source for row in every if row.dataset == "folder@btp"}
    assert folds == {n: f"prepared/brain_btp/fold-{n}" for n in range(1, 5)}
    mslub = [row for row in every if row.dataset == "brain_mri"]
    assert {row.test_on for row in mslub} == {"brain_mri@mslub"}
    assert {row.method for row in every} == set(METHOD_NAMES)
    assert {row.tuned for row in every} == {True, False}


def test_settings_are_drawn_alike_each_time(tool: ModuleType) -> None:
    assert tool.settings_of("dae") == tool.settings_of("dae")
    assert tool.draw() == (ROOT / "experiments/suites/choice.yaml").read_text()


def test_runs_are_judged_once_and_the_page_says_what_each_choice_costs(
    tool: ModuleType, tiny_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "choice.yaml"
    suite = {
        "name": "tiny",
        "preset": "smoke",
        "datasets": ["carotid_us"],
        "sources": {"carotid_us": str(tiny_store)},
        "seeds": [0],
        "methods": ["position", "intensity", "random"],
        "variants": {"position": [{"image_size": 24}]},
    }
    file.write_text(yaml.safe_dump(suite))
    runs, page = tmp_path / "runs", tmp_path / "page.md"
    command = ["page", "--suite", str(file), "--runs", str(runs), "--out", str(page)]
    with pytest.raises(DataError, match="complete"):
        tool.main(command)
    assert not page.exists()
    todo = [planned for planned in plans(load_suite(file), no_progress) if planned.row.method != "random"]
    folders = [execute(planned.plan, root=runs)[1] for planned in todo if planned.plan]
    judge, asked = tool.judge, list[int]()

    def ended(*arguments: Any) -> Any:
        asked.append(1)
        if len(asked) == 9:  # in the second run: each has six objectives and val
            raise KeyboardInterrupt
        return judge(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(tool, "judge", ended)
        with pytest.raises(KeyboardInterrupt):
            tool.main(command)
    assert [(folder / "choice.json").exists() for folder in folders] == [True, False, False]
    before = (folders[0] / "choice.json").stat().st_mtime_ns
    tool.main(command)
    assert (folders[0] / "choice.json").stat().st_mtime_ns == before, "what is judged is not judged again"
    studies = tool.collect(file, runs)
    grids = {grid.method: grid for grid in studies.grids}
    assert set(grids) == {"position", "intensity"}
    assert studies.missing == {("carotid_us", "random"): (0, 1)}
    grid = grids["position"]
    assert list(grid.settings) == ["position", "position[image_size=24]"]
    assert set(grid.objectives) == {"mixture", "foreign", "poisson", "shift", "deformation", "texture"}
    record = json.loads((folders[0] / "record.json").read_text())
    assert grid.test[0, 0].mean() == pytest.approx(record["metrics"]["case_ap"]["value"])
    text = page.read_text()
    assert "## position on carotid_us" in text
    assert "## Not run yet" in text
    assert "| random | carotid_us | 0 of 1 |" in text
    for choice in ("mixture", "default", "random setting"):
        assert f"| {choice} |" in text


def test_folds_make_one_study_of_all_patients(tool: ModuleType) -> None:
    folds = {
        ("dae", 0, 1): tool.Judged({"mixture": 0.2}, {}, {"a": 0.5, "b": 0.7}),
        ("dae", 0, 2): tool.Judged({"mixture": 0.4}, {}, {"c": 0.1}),
        ("dae", 1, 1): tool.Judged({"mixture": 0.9}, {}, {"a": 0.9, "b": 0.9}),
    }
    found = tool.pooled(folds)
    assert found.keys() == {("dae", 0), ("dae", 1)}
    assert found["dae", 0].objectives == {"mixture": pytest.approx(0.3)}
    assert found["dae", 0].test == {"a": 0.5, "b": 0.7, "c": 0.1}


def test_the_page_says_what_is_not_run_yet() -> None:
    page = " ".join((ROOT / "docs/explanation/choice.md").read_text().split())
    assert "Those 1800 runs of preset `quick` have not been made yet" in page
