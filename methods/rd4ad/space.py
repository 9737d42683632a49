"""Search space of ``rd4ad``."""

from __future__ import annotations

from typing import Any

import optuna


def suggest(trial: optuna.Trial) -> dict[str, Any]:
    """Returns config values of one trial."""
    return {
        "lr": trial.suggest_float("lr", 5e-4, 1e-2, log=True),
        "blur_sigma": trial.suggest_float("blur_sigma", 0.5, 6.0, log=True),
    }
