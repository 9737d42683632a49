"""What a suite file may hold."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.stores import write_store
from uadbench.core.catalog import METHODS
from uadbench.core.dataset import no_progress
from uadbench.core.errors import UserError
from uadbench.core.experiments import experiment_file, experiment_names
from uadbench.runner.suites.planned_rows import plans
from uadbench.runner.suites.suite import Suite, load_suite, rows

GOOD: dict[str, Any] = {
    "name": "trial",
    "preset": "smoke",
    "seeds": [0, 1],
    "methods": ["intensity", "ddpm"],
    "datasets": ["carotid_us"],
}


def write_suite(path: Path, **content: Any) -> Path:
    path.write_text(yaml.safe_dump(content))
    return path


def test_rows_are_seeds_by_data_by_methods_and_variants(tmp_path: Path) -> None:
    suite = load_suite(write_suite(tmp_path / "s.yaml", **GOOD, variants={"ddpm": [{"noise": "coarse"}]}))
    labels = [(row.seed, row.label) for row in rows(suite)]
    assert labels == [(seed, label) for seed in (0, 1) for label in ("intensity", "ddpm", "ddpm[noise=coarse]")]


def test_variants_may_stand_without_the_plain_row(tmp_path: Path) -> None:
    content = {**GOOD, "plain": False, "variants": {"ddpm": [{"noise": "coarse"}]}}
    suite = load_suite(write_suite(tmp_path / "s.yaml", **content))
    assert {row.label for row in rows(suite)} == {"intensity", "ddpm[noise=coarse]"}


def test_test_cohorts_are_rows_of_their_own(tmp_path: Path) -> None:
    content = {**GOOD, "test_on": {"carotid_us": ["carotid_us", "carotid_us@b"]}, "sources": {"carotid_us@b": "b"}}
    found = list(rows(load_suite(write_suite(tmp_path / "s.yaml", **content))))
    assert {(row.data, row.test_source) for row in found} == {
        ("carotid_us", "phantom"),
        ("carotid_us -> carotid_us@b", "b"),
    }


def test_an_included_suite_comes_first_with_its_own_settings(tmp_path: Path) -> None:
    write_suite(tmp_path / "inner.yaml", **{**GOOD, "name": "inner", "preset": "quick", "methods": ["position"]})
    outer = load_suite(write_suite(tmp_path / "s.yaml", **GOOD, include=["inner"]))
    assert [(row.method, row.preset) for row in rows(outer)][:2] == [("position", "quick")] * 2
    assert len(list(rows(outer))) == 2 + 4
    only = load_suite(write_suite(tmp_path / "only.yaml", name="only", include=["inner"]))
    assert len(list(rows(only))) == 2


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "method": ({"methods": ["synomali"]}, "Did you mean synomaly"),
    "dataset": ({"datasets": ["carotid"]}, "Did you mean carotid_us"),
    "preset": ({"preset": "quik"}, "Did you mean quick"),
    "protocol": ({"protocol": "strict"}, "strict-v1"),
    "variant's method": ({"variants": {"ddmp": [{}]}}, "Did you mean ddpm"),
    "variant's key": ({"variants": {"ddpm": [{"nois": "coarse"}]}}, "Did you mean noise"),
    "variant's value": ({"variants": {"ddpm": [{"noise": "loud"}]}}, "noise='loud' is not allowed"),
    "source of nothing": ({"sources": {"carotid": "x"}}, "Did you mean carotid_us"),
    "test_on of nothing": ({"test_on": {"carotid": ["carotid_us"]}}, "Did you mean carotid_us"),
    "unknown test data": ({"test_on": {"carotid_us": ["carotid@b"]}}, "Did you mean carotid_us"),
    "method twice": ({"methods": ["intensity", "intensity"]}, "occurs twice"),
    "seed twice": ({"seeds": [0, 0]}, "occurs twice"),
    "variant twice": ({"variants": {"ddpm": [{"noise": "coarse"}, {"noise": "coarse"}]}}, "occurs twice"),
    "job of an included suite": ({"include": ["other"]}, "occurs twice"),
    "include of itself": ({"include": ["s"]}, "circle: s -> s"),
    "include in a circle": ({"include": ["round"]}, "circle: s -> round -> s"),
    "include of nothing": ({"include": ["nowhere"]}, "no suite"),
    "unknown key": ({"method": ["intensity"]}, "method: Extra inputs"),
    "another folder": ({"include": ["../../x"]}, "include.0"),
    "negative seed": ({"seeds": [-1]}, "seeds.0"),
    "far too many seeds": ({"seeds": list(range(200_000))}, "larger than 512 KiB"),
    "too many seeds": ({"seeds": list(range(2000))}, "seeds"),
    "far too many jobs": (
        {"seeds": list(range(1000)), "variants": {"ddpm": [{"t": t} for t in range(20)]}},
        "5000 jobs",
    ),
    "internal key": ({"included": [deepcopy(GOOD)]}, "Write include"),
    "no seeds": ({"seeds": []}, "no seeds"),
    "no job": ({"methods": [], "datasets": []}, "contains no jobs"),
    "seed that is not a number": ({"seeds": ["a"]}, "seeds.0"),
    "name that is a path": ({"name": "../x"}, "name"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_suite_is_refused_with_a_clear_line(tmp_path: Path, case: str) -> None:
    write_suite(tmp_path / "other.yaml", **GOOD)
    write_suite(tmp_path / "round.yaml", name="round", include=["s"])
    changes, words = BAD[case]
    path = write_suite(tmp_path / "s.yaml", **{**GOOD, **changes})
    with pytest.raises(UserError) as error:
        load_suite(path)
    assert words in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["", "- a list", "name: [", "\x00"])
def test_a_file_that_is_no_suite_is_refused_in_one_line(tmp_path: Path, text: str) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(text)
    with pytest.raises(UserError) as error:
        load_suite(path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", experiment_names("suites"))
def test_every_shipped_suite_loads(name: str) -> None:
    suite = load_suite(experiment_file("suites", name))
    assert suite.name == name
    assert all(row.label for row in rows(suite))


def test_quick_holds_every_method_with_three_seeds() -> None:
    found = list(rows(load_suite(experiment_file("suites", "quick"))))
    for data in {row.dataset for row in found}:
        here = {row.method for row in found if row.dataset == data}
        # The kit's own tests register methods beside the built-in ones: those are not shipped.
        shipped = {name for name in METHODS.names() if METHODS.load(name).__module__.startswith("uadbench.methods.")}
        assert here == shipped
    assert {row.seed for row in found} == {0, 1, 2}


def test_data_that_are_absent_leave_a_reason(tmp_path: Path, tiny_store: Path) -> None:
    content = {
        **GOOD,
        "datasets": ["carotid_us", "brain_mri", "carotid_us@gone"],
        "sources": {"carotid_us": str(tiny_store), "brain_mri": "nowhere", "carotid_us@gone": "gone"},
    }
    found = plans(load_suite(write_suite(tmp_path / "s.yaml", **content)), no_progress, tmp_path)
    assert len({planned.id for planned in found}) == len(found) == 2 * 3 * 2
    for planned in found:
        assert (planned.plan is None) == (planned.row.dataset != "carotid_us")
        assert bool(planned.reason) == (planned.plan is None)
        assert "nowhere" in planned.reason or planned.row.dataset != "brain_mri"


def test_a_relative_source_starts_from_the_given_folder(tmp_path: Path) -> None:
    write_store(tmp_path / "here" / "data", frames=1)
    content = {**GOOD, "methods": ["intensity"], "sources": {"carotid_us": "data"}}
    suite = load_suite(write_suite(tmp_path / "s.yaml", **content))
    assert all(planned.plan for planned in plans(suite, no_progress, tmp_path / "here"))
    assert not any(planned.plan for planned in plans(suite, no_progress, tmp_path))


def test_a_job_without_tuned_settings_is_skipped(tmp_path: Path, tiny_store: Path) -> None:
    content = {**GOOD, "methods": ["random"], "tuned": True, "sources": {"carotid_us": str(tiny_store)}}
    found = plans(load_suite(write_suite(tmp_path / "s.yaml", **content)), no_progress)
    assert [planned.plan for planned in found] == [None, None]
    assert "no tuned setting" in found[0].reason
    assert found[0].row.label == "random[tuned]"


def test_a_suite_needs_a_name() -> None:
    with pytest.raises(ValueError, match="name"):
        Suite.model_validate({"methods": ["intensity"]})
