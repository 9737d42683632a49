"""The study of label-free choice from end to end on a tiny store, and the suites that were committed for it."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Generator
from pathlib import Path
from types import ModuleType

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
    assert len(list(rows(suite))) == 3 * 25 * len(suite.datasets) * len(suite.seeds)


def test_the_real_suite_folds_the_brains_and_tests_mslub_after_the_phantom() -> None:
    every = list(rows(load_suite(ROOT / "experiments/suites/real.yaml")))
    folds = {row.fold: row.source for row in every if row.dataset == "folder@btp"}
    assert folds == {n: f"prepared/brain_btp/fold-{n}" for n in range(1, 5)}
    mslub = [row for row in every if row.dataset == "brain_mri"]
    assert {row.test_on for row in mslub} == {"brain_mri@mslub"}
    assert {row.method for row in every} == set(METHOD_NAMES)
    assert {row.tuned for row in every} == {True, False}


def test_settings_are_drawn_alike_each_time(tool: ModuleType) -> None:
    drawn = tool.settings_of("dae")
    assert drawn == tool.settings_of("dae")
    assert drawn == load_suite(ROOT / "experiments/suites/choice.yaml").variants["dae"]


def test_runs_are_judged_once_and_the_page_says_what_each_choice_costs(
    tool: ModuleType, tiny_store: Path, tmp_path: Path
) -> None:
    file = tmp_path / "choice.yaml"
    suite = {
        "name": "tiny",
        "preset": "smoke",
        "datasets": ["carotid_us"],
        "sources": {"carotid_us": str(tiny_store)},
        "seeds": [0],
        "methods": ["position", "intensity"],
        "variants": {"position": [{"image_size": 24}]},
    }
    file.write_text(yaml.safe_dump(suite))
    runs = tmp_path / "runs"
    with pytest.raises(DataError, match="complete"):
        tool.collect(file, runs)
    folders = [execute(planned.plan, root=runs)[1] for planned in plans(load_suite(file), no_progress) if planned.plan]
    grids = {grid.method: grid for grid in tool.collect(file, runs)}
    assert set(grids) == {"position", "intensity"}
    grid = grids["position"]
    assert list(grid.settings) == ["position", "position[image_size=24]"]
    assert set(grid.objectives) == {"mixture", "foreign", "poisson", "shift", "deformation", "texture"}
    record = json.loads((folders[0] / "record.json").read_text())
    assert grid.test[0, 0].mean() == pytest.approx(record["metrics"]["case_ap"]["value"])
    before = (folders[0] / "choice.json").stat().st_mtime_ns
    page = tool.write(tool.collect(file, runs))
    assert (folders[0] / "choice.json").stat().st_mtime_ns == before, "what is judged is not judged again"
    assert "## position on carotid_us" in page
    for choice in ("mixture", "default", "random setting"):
        assert f"| {choice} |" in page
