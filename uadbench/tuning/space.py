"""A method's search space: its parameters, which of them need a new fit, and a hash that detects any change."""

from __future__ import annotations

import importlib
import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    distribution_to_json,
)

from uadbench.core.config import MethodConfig
from uadbench.core.errors import UserError
from uadbench.core.method import Method
from uadbench.core.record import stable_hash
from uadbench.tuning.storage import quiet

DRAWS = 64  # enough to reach every branch of a conditional space

Suggest = Callable[[optuna.Trial], dict[str, Any]]


@dataclass(frozen=True)
class Space:
    """The space of a method.

    Attributes:
        suggest: Maps a trial to config values.
        distributions: Every parameter, including those of branches.
        training: Parameters that require a new fit.
        inference: Parameters that can be changed after a fit.
        choices: Config value of each choice of a categorical parameter, as JSON.
        hash: Hash of names, ranges, and the values of choices.
    """

    suggest: Suggest
    distributions: dict[str, BaseDistribution]
    training: frozenset[str]
    inference: frozenset[str]
    choices: dict[str, dict[Any, Any]]
    hash: str

    @property
    def settings(self) -> float:
        """Number of different settings of inference; infinite if one is continuous, 1 if there is none."""
        return math.prod(_size(self.distributions[name]) for name in self.inference)

    def defaults(self, config: MethodConfig) -> dict[str, Any]:
        """Returns the parameters at which the space gives a config's values, as far as it contains them."""
        values = config.model_dump(mode="json")
        found: dict[str, Any] = {}
        for name, distribution in self.distributions.items():
            if isinstance(distribution, CategoricalDistribution):
                same = [choice for choice, value in self.choices[name].items() if value == values[name]]
                if same:
                    found[name] = same[0]
            elif isinstance(distribution, FloatDistribution | IntDistribution) and _holds(distribution, values[name]):
                found[name] = values[name]
        return found


def load_space(method: type[Method], polarity: int = 0) -> Space:
    """Reads a method's ``space.py``.

    Args:
        method: The method.
        polarity: Sign of lesions according to the dataset, for a ``suggest`` that uses it: if it is 0, the sign is
            searched for.

    Raises:
        UserError: If it cannot be imported, or there is nothing to tune.
    """
    module = f"{method.__module__.rpartition('.')[0]}.space"
    try:
        found: Callable[..., dict[str, Any]] = importlib.import_module(module).suggest
    except (ImportError, AttributeError) as error:
        raise UserError(f"{method.name} has no search space ({module}.suggest): {error}.") from error
    takes_polarity = "polarity" in inspect.signature(found).parameters
    suggest: Suggest = partial(found, polarity=polarity) if takes_polarity else found
    distributions: dict[str, BaseDistribution] = {}
    choices: dict[str, dict[Any, Any]] = {}
    draws: list[Any] = []
    with quiet():
        study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(DRAWS):
        trial = study.ask()
        suggested = suggest(trial)
        values = method.config_type.resolve("quick", suggested).model_dump(mode="json")
        _require_keys(method, trial.params, suggested)
        distributions |= trial.distributions
        for name, distribution in trial.distributions.items():
            if isinstance(distribution, CategoricalDistribution):
                choices.setdefault(name, {})[trial.params[name]] = values[name]
        draws.append([trial.params, {key: values[key] for key in suggested}])
    if not distributions:
        raise UserError(f"{method.name} has nothing to tune: its space is empty.", "Choose another method.")
    inference = frozenset(distributions) & method.config_type.INFERENCE
    described = {name: distribution_to_json(distributions[name]) for name in distributions}
    return Space(
        suggest=suggest,
        distributions=distributions,
        training=frozenset(distributions) - inference,
        inference=inference,
        choices=choices,
        hash=stable_hash([described, draws]),
    )


def _require_keys(method: type[Method], params: dict[str, Any], suggested: dict[str, Any]) -> None:
    """Parameters are named like the config keys that they set: the two levels are told apart by name."""
    strangers = sorted(set(params) - set(suggested))
    if strangers:
        raise UserError(f"The space of {method.name} has a parameter '{strangers[0]}' that it sets no key by.")


def _size(distribution: BaseDistribution) -> float:
    if isinstance(distribution, CategoricalDistribution):
        return len(distribution.choices)
    if isinstance(distribution, IntDistribution):
        return (distribution.high - distribution.low) // distribution.step + 1
    if isinstance(distribution, FloatDistribution) and distribution.step is not None:
        return round((distribution.high - distribution.low) / distribution.step) + 1
    return math.inf


def _holds(distribution: FloatDistribution | IntDistribution, value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    if not distribution.low <= value <= distribution.high:
        return False
    position = 0.0 if distribution.step is None else (value - distribution.low) / distribution.step
    return abs(position - round(position)) < 1e-8
