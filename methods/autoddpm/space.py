"""Search space of ``autoddpm``."""

from __future__ import annotations

from typing import Any

import optuna


def suggest(trial: optuna.Trial) -> dict[str, Any]:
    """Returns config values of one trial."""
    return {
        "lr": trial.suggest_float("lr", 1e-4, 2e-3, log=True),
        "t": trial.suggest_int("t", 100, 500, step=50),
        "t_inpaint": trial.suggest_int("t_inpaint", 25, 100, step=25),
        "mask_quantile": trial.suggest_float("mask_quantile", 0.8, 0.98, step=0.02),
    }
