"""Search space of ``fanogan``."""

from __future__ import annotations

from typing import Any

import optuna


def suggest(trial: optuna.Trial) -> dict[str, Any]:
    """Returns config values of one trial."""
    return {
        "lr": trial.suggest_float("lr", 5e-5, 2e-3, log=True),
        "encoder_lr": trial.suggest_float("encoder_lr", 5e-5, 5e-3, log=True),
        "kappa": trial.suggest_float("kappa", 0.1, 10.0, log=True),
        "latent": trial.suggest_int("latent", 32, 256, log=True),
    }
