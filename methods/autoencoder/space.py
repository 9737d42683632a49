"""Search space of ``autoencoder``."""

from __future__ import annotations

from typing import Any

import optuna


def suggest(trial: optuna.Trial) -> dict[str, Any]:
    """Returns config values of one trial."""
    bottleneck = trial.suggest_categorical("bottleneck", ["dense", "spatial"])
    values: dict[str, Any] = {
        "lr": trial.suggest_float("lr", 1e-4, 5e-3, log=True),
        "loss": trial.suggest_categorical("loss", ["l1", "l2"]),
        "bottleneck": bottleneck,
        "dropout": trial.suggest_float("dropout", 0.0, 0.4),
    }
    if bottleneck == "dense":
        values["latent"] = trial.suggest_int("latent", 16, 512, log=True)
    return values
