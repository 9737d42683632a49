"""Reads experiments/tuned/METHOD/DATASET.yaml: values and their origin."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from uadbench.core.errors import UserError
from uadbench.core.experiments import experiment_file
from uadbench.core.reading import read_yaml
from uadbench.core.record import DatasetPart


@dataclass(frozen=True)
class Tuned:
    """Tuned values with their provenance.

    Attributes:
        config: Config values.
        labels: Labels that the tuning used, "none" if there were none.
        origin: One line on file, study, budget and preset.
        preset: Preset of the study, "" if unknown.
        data_version: Version of its data, likewise.
        fingerprint: Fingerprint of its data, likewise.
    """

    config: dict[str, Any]
    labels: str
    origin: str
    preset: str = ""
    data_version: str = ""
    fingerprint: str = ""

    def misfit(self, preset: str, data: DatasetPart) -> str:
        """Returns the differences between the study and a run in one line; "" if there are none."""
        differing = []
        if self.preset != preset:
            differing.append(f"preset {self.preset or 'unknown'} (here {preset})")
        if self.fingerprint != data.fingerprint:
            version = f"version {self.data_version or 'unknown'}, fingerprint {self.fingerprint[:12] or 'unknown'}"
            differing.append(f"{version} of {data.name} (here version {data.version}, {data.fingerprint[:12]})")
        return f"Tuned for {' and '.join(differing)}: {self.origin}" if differing else ""


def load_tuned(method: str, dataset: str) -> Tuned:
    """Returns the tuned values of a method on a dataset.

    Raises:
        UserError: If there is no such file, or it contains no settings.
    """
    file = experiment_file(f"tuned/{method}", dataset)
    name = f"experiments/tuned/{method}/{dataset}.yaml"
    if not file.exists():
        raise UserError(
            f"There are no tuned settings of {method} for {dataset} ({name}).",
            f"Run without --tuned, or first: uadbench tune --method {method} --dataset {dataset}",
        )
    content: Any = read_yaml(file, "Repair it, or tune again.")
    if not isinstance(content, dict) or not isinstance(content.get("config"), dict):
        raise UserError(f"{name} holds no 'config'.", "Write the settings under the key config.")
    known = [
        f"{key} {content[key]}"
        for key in ("study", "objective", "lesions", "trials", "preset", "source")
        if key in content
    ]
    return Tuned(
        config=dict(content["config"]),
        # A file without provenance was not written by the tuner: its values may come from anywhere.
        labels=str(content.get("labels", "unknown")),
        origin=f"{name} ({', '.join(known) or 'without provenance'})",
        preset=str(content.get("preset", "")),
        data_version=str(content.get("dataset_version", "")),
        fingerprint=str(content.get("fingerprint", "")),
    )
