"""Search space of ``synomaly``: noise scale, t and stages interact, so they are searched together."""

from __future__ import annotations

from typing import Any

import optuna


def suggest(trial: optuna.Trial) -> dict[str, Any]:
    """Returns config values of one trial."""
    return {
        "lr": trial.suggest_float("lr", 1e-4, 2e-3, log=True),
        "sigma": trial.suggest_float("sigma", 1.0, 11.0, step=2.0),
        "threshold": trial.suggest_int("threshold", 140, 190, step=5),
        "offset": trial.suggest_float("offset", 0.25, 1.25, step=0.25),
        "t": trial.suggest_int("t", 50, 300, step=50),
        "stages": trial.suggest_int("stages", 1, 5),
        "stage_tau": trial.suggest_float("stage_tau", 0.05, 0.3, step=0.05),
        "map_k": trial.suggest_categorical("map_k", [3, 5, 7, 11, 15, 17]),
    }
