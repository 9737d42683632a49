"""Reads experiments/tuned/METHOD/DATASET.yaml."""

from __future__ import annotations

from typing import Any

import yaml

from uadbench.core.errors import UserError
from uadbench.core.experiments import experiment_file


def load_tuned(method: str, dataset: str) -> dict[str, Any]:
    """Returns the tuned values of a method on a dataset.

    Raises:
        UserError: If there is no such file, or it holds no settings.
    """
    file = experiment_file(f"tuned/{method}", dataset)
    if not file.exists():
        raise UserError(
            f"There is no tuned setting of {method} for {dataset} (experiments/tuned/{method}/{dataset}.yaml).",
            "Run without --tuned.",
        )
    content = yaml.safe_load(file.read_text())
    if not isinstance(content, dict) or not isinstance(content.get("config"), dict):
        raise UserError(f"{file.name} of {method} holds no 'config'.", "Write the settings under the key config.")
    return dict(content["config"])
