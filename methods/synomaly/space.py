"""Search space of ``synomaly``: noise scale, t and stages interact, so they are searched together."""

from __future__ import annotations

from typing import Any

import optuna

# None is the dataset's polarity, or both signs if unknown: then the sign of a lesion is searched for.
TOLD: dict[str, tuple[int, ...] | None] = {"prior": None, "both": (-1, 1)}
UNKNOWN: dict[str, tuple[int, ...] | None] = {"bright": (1,), "dark": (-1,), "both": None}


def suggest(trial: optuna.Trial, polarity: int = 0) -> dict[str, Any]:
    """Returns config values of one trial.

    Args:
        trial: The trial.
        polarity: Sign of lesions according to the dataset, 0 if unknown.
    """
    directions = TOLD if polarity else UNKNOWN
    fusion = trial.suggest_categorical("fusion", ["binary", "soft", "none"])
    values: dict[str, Any] = {
        "lr": trial.suggest_float("lr", 1e-4, 2e-3, log=True),
        "sigma": trial.suggest_float("sigma", 1.0, 11.0, step=2.0),
        "threshold": trial.suggest_int("threshold", 140, 190, step=5),
        "offset": trial.suggest_float("offset", 0.25, 1.25, step=0.25),
        "direction": directions[trial.suggest_categorical("direction", list(directions))],
        "t": trial.suggest_int("t", 50, 300, step=50),
        "stages": trial.suggest_int("stages", 1, 5),
        "fusion": fusion,
        "map_k": trial.suggest_categorical("map_k", [3, 5, 7, 11, 15, 17]),
    }
    # The soft weight is thresholded at tau, the masks of the other forms at stage_tau.
    if fusion == "soft":
        values["tau"] = trial.suggest_float("tau", 0.1, 0.45, step=0.05)
    else:
        values["stage_tau"] = trial.suggest_float("stage_tau", 0.05, 0.3, step=0.05)
    return values
