"""Search space of ``patchcore``."""

from __future__ import annotations

from typing import Any

import optuna

LAYERS = {"1+2": (1, 2), "2+3": (2, 3), "1+2+3": (1, 2, 3)}


def suggest(trial: optuna.Trial) -> dict[str, Any]:
    """Returns config values of one trial."""
    return {
        "layers": LAYERS[trial.suggest_categorical("layers", list(LAYERS))],
        "coreset_fraction": trial.suggest_float("coreset_fraction", 0.002, 0.02, log=True),
        "neighbours": trial.suggest_int("neighbours", 2, 20),
        "blur_sigma": trial.suggest_float("blur_sigma", 0.5, 6.0, log=True),
    }
