"""Search space of ``vae``."""

from __future__ import annotations

from typing import Any

import optuna


def suggest(trial: optuna.Trial) -> dict[str, Any]:
    """Returns config values of one trial."""
    return {
        "lr": trial.suggest_float("lr", 1e-4, 5e-3, log=True),
        "beta": trial.suggest_float("beta", 0.01, 10.0, log=True),
        "latent": trial.suggest_int("latent", 16, 512, log=True),
        "dropout": trial.suggest_float("dropout", 0.0, 0.4),
    }
