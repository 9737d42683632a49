"""Spaces: hashes that notice any change, two levels, and the preset as the first trial."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable
from typing import Any

import optuna
import pytest

from tests.support.shipped import METHOD_NAMES
from uadbench.core.catalog import METHODS
from uadbench.core.errors import UserError
from uadbench.core.method import Method
from uadbench.tuning.space import load_space

TRIVIAL = ("intensity", "equalized", "position", "mean_residual", "random")
TUNABLE = [name for name in METHOD_NAMES if name not in TRIVIAL]


@pytest.mark.parametrize("name", TUNABLE)
def test_two_levels_and_the_preset(name: str) -> None:
    kind = METHODS.load(name)
    space = load_space(kind)
    assert space.hash == load_space(kind).hash
    assert space.training | space.inference == set(space.distributions)
    assert space.inference <= kind.config_type.INFERENCE
    preset = kind.config_type.resolve("quick")
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    study.enqueue_trial(space.defaults(preset))
    values = kind.config_type.resolve("quick", space.suggest(study.ask())).model_dump()
    wanted = preset.model_dump()
    for key in space.defaults(preset):
        assert values[key] == wanted[key], key


def test_the_preset_of_synomaly_lies_in_its_space() -> None:
    kind = METHODS.load("synomaly")
    space = load_space(kind)
    study = optuna.create_study()
    for preset in ("smoke", "quick"):
        config = kind.config_type.resolve(preset)
        study.enqueue_trial(space.defaults(config))
        assert kind.config_type.resolve(preset, space.suggest(study.ask())) == config
    assert {"t", "stages", "fusion", "map_k"} <= space.inference
    assert {"sigma", "threshold", "offset", "direction"} <= space.training


@pytest.mark.parametrize("name", TRIVIAL)
def test_nothing_to_tune_is_said(name: str) -> None:
    with pytest.raises(UserError, match="nothing to tune"):
        load_space(METHODS.load(name))


def with_space(monkeypatch: pytest.MonkeyPatch, suggest: Callable[[optuna.Trial], dict[str, Any]]) -> type[Method]:
    module = types.ModuleType("uadbench.methods.dae.space")
    module.suggest = suggest  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return METHODS.load("dae")


def test_the_hash_notices_ranges_names_and_what_a_choice_means(monkeypatch: pytest.MonkeyPatch) -> None:
    widths = {"small": (8, 16), "large": (16, 32)}

    def space_of(top: float, choices: dict[str, tuple[int, ...]]) -> str:
        def suggest(trial: optuna.Trial) -> dict[str, Any]:
            return {
                "lr": trial.suggest_float("lr", 1e-4, top, log=True),
                "widths": choices[trial.suggest_categorical("widths", list(choices))],
            }

        return load_space(with_space(monkeypatch, suggest)).hash

    base = space_of(1e-3, widths)
    assert base == space_of(1e-3, dict(widths))
    assert base != space_of(2e-3, widths)
    assert base != space_of(1e-3, {**widths, "huge": (32, 64)})
    assert base != space_of(1e-3, {**widths, "small": (8, 8)})


def test_a_parameter_that_is_no_config_key_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def suggest(trial: optuna.Trial) -> dict[str, Any]:
        return {"lr": 10 ** trial.suggest_float("log_lr", -4, -3)}

    with pytest.raises(UserError, match="log_lr"):
        load_space(with_space(monkeypatch, suggest))


def test_the_sign_is_searched_for_where_no_polarity_is_told() -> None:
    kind = METHODS.load("synomaly")
    unknown, told = load_space(kind), load_space(kind, 1)
    assert set(unknown.choices["direction"]) == {"bright", "dark", "both"}
    assert unknown.choices["direction"]["both"] is None, "which means both signs where no polarity is told"
    assert set(told.choices["direction"]) == {"prior", "both"}
    assert unknown.hash != told.hash == load_space(kind, -1).hash
