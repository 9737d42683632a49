"""Regret and rank correlation of label-free choices, on studies whose answers are known."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from uadbench.evaluation.statistics.choice import (
    RANDOM,
    Grid,
    labelled_picks,
    leave_one_domain_out,
    picks_of,
    random_regret,
    rank_correlation,
    regret,
    regrets,
)

SEEDS, SETTINGS, PATIENTS = 3, 24, 14


def study(domain: str = "brain", patients: int = PATIENTS, seed: int = 0) -> Grid:
    """Settings of rising quality; one objective sees it, one is turned around, one is noise."""
    rng = np.random.default_rng(seed)
    quality = np.linspace(0.2, 0.6, SETTINGS)
    test = quality[None, :, None] + 0.01 * rng.normal(size=(SEEDS, SETTINGS, patients))
    seen = np.repeat(quality[None], SEEDS, 0)
    return Grid(
        dataset=f"{domain}-set",
        domain=domain,
        method="dae",
        settings=[f"s{n}" for n in range(SETTINGS)],
        test=test,
        objectives={"good": seen, "turned": -seen, "noise": rng.normal(size=seen.shape)},
        val=quality[None, :, None] + 0.3 * rng.normal(size=(SEEDS, SETTINGS, 6)),
        fixed={"default": 12},
    )


def test_the_objective_that_sees_quality_has_correlation_one_and_hardly_a_regret() -> None:
    grid = study()
    assert rank_correlation(grid, "good").value > 0.98
    assert rank_correlation(grid, "turned").value < -0.98
    assert regret(grid, picks_of(grid, "good")).relative < 0.02
    worst = regret(grid, picks_of(grid, "turned"))
    assert worst.absolute == pytest.approx(0.4, abs=0.02)
    assert worst.relative == pytest.approx(0.4 / 0.6, abs=0.03)
    assert worst.gain is not None
    assert worst.gain.value == pytest.approx(0.2 - (0.2 + 0.4 * 12 / 23), abs=0.02)
    assert worst.gain.low is not None
    assert worst.gain.high is not None
    assert worst.gain.low <= worst.gain.value <= worst.gain.high < 0


def test_by_hand() -> None:
    test = np.array([[[0.1, 0.3], [0.5, 0.5], [0.2, 0.2]]])
    grid = Grid("d", "us", "m", ["a", "b", "c"], test, {"o": np.array([[3.0, 1.0, 2.0]])})
    assert regret(grid, picks_of(grid, "o")).absolute == pytest.approx(0.5 - 0.2)
    assert random_regret(grid).absolute == pytest.approx(0.5 - 0.3)
    assert regret(grid, picks_of(grid, "o")).gain is None, "the study has no default"
    gain = regret(dataclasses.replace(grid, fixed={"default": 2}), picks_of(grid, "o")).gain
    assert gain is not None
    assert (gain.value, gain.low) == (pytest.approx(0.0), None), "two patients give no interval"


def test_equal_settings_gain_nothing_within_the_interval() -> None:
    """Settings that differ by noise alone: their regret is positive, but the interval of the gain contains 0."""
    covered = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        test = 0.3 + 0.1 * rng.normal(size=(SEEDS, SETTINGS, 36))
        objective = {"noise": rng.normal(size=(SEEDS, SETTINGS))}
        grid = Grid("d", "us", "m", [f"s{n}" for n in range(SETTINGS)], test, objective, fixed={"default": 12})
        found = regret(grid, picks_of(grid, "noise"))
        assert found.absolute > 0
        assert found.gain is not None
        covered += (found.gain.low or 0) <= 0 <= (found.gain.high or 0)
    assert covered >= 34


@given(st.integers(0, 200))
@settings(max_examples=20, deadline=None)
def test_a_regret_is_never_negative_and_the_best_setting_has_none(seed: int) -> None:
    rng = np.random.default_rng(seed)
    test = rng.random((2, 5, 4))
    grid = Grid("d", "us", "m", list("abcde"), test, {"o": rng.random((2, 5))})
    assert regret(grid, picks_of(grid, "o")).absolute >= 0
    assert regret(grid, test.mean(2).argmax(1)).absolute == pytest.approx(0)
    assert random_regret(grid).absolute >= 0


def test_more_labelled_patients_choose_better_and_as_many_as_there_are() -> None:
    grid = study()
    found = regrets(grid)
    assert "val, 8 labelled patients" not in found
    assert found["val, 4 labelled patients"].relative < found["val, 1 labelled patient"].relative
    assert found["good"].relative < found[RANDOM].relative < found["turned"].relative
    assert found["default"].absolute == pytest.approx(0.6 - 0.2 - 0.4 * 12 / 23, abs=0.02)
    assert labelled_picks(grid, 7) is None


def test_the_objective_for_a_domain_is_chosen_on_the_others() -> None:
    brain, liver, us = study("brain"), study("liver", seed=1), study("us", seed=2)
    # On us alone the turned objective would be best: it must not be what is chosen for us.
    swapped = {"good": us.objectives["turned"], "turned": us.objectives["good"], "noise": us.objectives["noise"]}
    us = Grid(us.dataset, us.domain, us.method, us.settings, us.test, swapped)
    found = leave_one_domain_out([brain, liver, us])
    assert found["us"][0] == "good"
    assert found["us"][1] > 0.5
    assert leave_one_domain_out([brain]) == {}
