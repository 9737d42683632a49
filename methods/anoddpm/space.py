"""Search space of ``anoddpm``."""

from __future__ import annotations

from typing import Any

import optuna


def suggest(trial: optuna.Trial) -> dict[str, Any]:
    """Returns config values of one trial."""
    return {
        "lr": trial.suggest_float("lr", 1e-4, 2e-3, log=True),
        "t": trial.suggest_int("t", 50, 500, step=50),
        "frequency": trial.suggest_categorical("frequency", [32, 64, 128]),
        "octaves": trial.suggest_int("octaves", 2, 6),
        "persistence": trial.suggest_float("persistence", 0.5, 0.9, step=0.1),
    }
