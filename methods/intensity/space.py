"""Search space of ``intensity``: empty, there is nothing to tune."""

from __future__ import annotations

from typing import Any

import optuna


def suggest(trial: optuna.Trial) -> dict[str, Any]:
    """Returns no config value: the baseline has no parameter."""
    del trial
    return {}
