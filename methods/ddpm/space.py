"""Search space of ``ddpm``."""

from __future__ import annotations

from typing import Any

import optuna


def suggest(trial: optuna.Trial) -> dict[str, Any]:
    """Returns config values of one trial."""
    return {
        "lr": trial.suggest_float("lr", 1e-4, 2e-3, log=True),
        "t": trial.suggest_int("t", 50, 500, step=50),
        "chain": trial.suggest_categorical("chain", ["one_step", "ddim"]),
        "schedule": trial.suggest_categorical("schedule", ["cosine", "linear"]),
    }
