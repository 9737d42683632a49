"""Search space of ``dae``."""

from __future__ import annotations

from typing import Any

import optuna


def suggest(trial: optuna.Trial) -> dict[str, Any]:
    """Returns config values of one trial."""
    return {
        "lr": trial.suggest_float("lr", 1e-4, 2e-3, log=True),
        "noise_std": trial.suggest_float("noise_std", 0.1, 1.0, log=True),
        "noise_cells": trial.suggest_categorical("noise_cells", [4, 8, 16, 32]),
        "median": trial.suggest_categorical("median", [1, 3, 5, 7]),
    }
