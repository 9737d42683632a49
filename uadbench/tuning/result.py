"""Results of a study: the best setting, its gain over the preset, and the file for ``run --tuned``."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray
from optuna.trial import FrozenTrial, TrialState

from uadbench.core.errors import UserError
from uadbench.core.files import atomic_text
from uadbench.core.reading import read_yaml
from uadbench.core.record import stable_hash
from uadbench.evaluation.statistics.comparisons import Difference, paired_difference
from uadbench.evaluation.statistics.intervals import Interval, patient_interval, weighted_mean
from uadbench.tuning.task import StudyTask

MIN_PATIENTS = 10  # minimum for an interval, as in docs/protocol.md
RESAMPLES = 2000


@dataclass(frozen=True)
class Calls:
    """Network calls: requested by settings, computed, and with different inputs within a fit."""

    asked: int
    computed: int
    distinct: int

    @property
    def words(self) -> str:
        """One line."""
        if not self.computed:
            return "no network call"
        bound = self.asked / max(1, self.distinct)
        return (
            f"{self.asked} calls requested, {self.computed} computed: {self.asked / self.computed:.1f} x fewer; "
            f"bound for these settings {bound:.1f} x"
        )


@dataclass(frozen=True)
class Outcome:
    """The current state of a study.

    Attributes:
        trials: Finished trials by slot.
        best: The best trial that satisfies the constraint; None if there is none.
        preset: The trial of the preset's own values; None if the space does not contain them.
        gain: Best minus preset on the objective's lesions, paired by patient.
        calls: Network calls.
        study: Hash of definition and trials.
    """

    trials: Sequence[FrozenTrial]
    best: FrozenTrial | None
    preset: FrozenTrial | None
    gain: Difference | None
    calls: Calls
    study: str

    def count(self, state: TrialState) -> int:
        """Number of trials in a state."""
        return sum(trial.state == state for trial in self.trials)


def outcome(task: StudyTask, definition: Mapping[str, Any], trials: Sequence[FrozenTrial]) -> Outcome:
    """Summarises the finished trials."""
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    allowed = [trial for trial in complete if feasible(trial)]
    # ties: the faster one if time is an objective, then the earlier one
    best = min(allowed, key=lambda trial: (-trial.values[0], *trial.values[1:], slot_of(trial)), default=None)
    preset = next((trial for trial in complete if trial.user_attrs.get("preset")), None)
    rows = [
        [slot_of(trial), trial.state.name, trial.params, trial.values if trial.state == TrialState.COMPLETE else None]
        for trial in trials
    ]
    return Outcome(
        trials=trials,
        best=best,
        preset=preset,
        gain=None if best is None or preset is None else gain(task, best, preset),
        calls=Calls(*(sum(trial.user_attrs.get("calls", {}).get(key, 0) for trial in trials) for key in CALL_KEYS)),
        study=stable_hash([dict(definition), rows]),
    )


CALL_KEYS = ("asked", "computed", "distinct")


def feasible(trial: FrozenTrial) -> bool:
    """Whether a trial satisfies its constraints."""
    return all(value <= 0 for value in trial.constraints.values())


def slot_of(trial: FrozenTrial) -> int:
    """Returns the slot of a trial."""
    return int(trial.user_attrs["slot"])


def gain(task: StudyTask, best: FrozenTrial, preset: FrozenTrial) -> Difference:
    """Returns the paired difference over patients."""
    ours, theirs = (trial.user_attrs[task.measure] for trial in (best, preset))
    first, second = (np.array([row[patient] for patient in sorted(ours)]) for row in (ours, theirs))
    return paired_difference(first, second, seed=task.seed, resamples=RESAMPLES, minimum=MIN_PATIENTS)


def mean_interval(values: NDArray[np.float64], seed: int) -> Interval:
    """Returns the 95 % interval of a mean over patients."""
    return patient_interval(
        weighted_mean(values),
        len(values),
        resamples=RESAMPLES,
        confidence=0.95,
        seed=seed,
        minimum=MIN_PATIENTS,
    )


KIND = ("method", "dataset", "source", "preset", "objective", "measure")
"""What two studies must share for one to replace the other."""


def check_replaceable(file: Path, content: Mapping[str, Any], *, force: bool) -> None:
    """Refuses to overwrite the result of a study of another kind or a longer one.

    Args:
        file: The tuned file that would be written.
        content: The new content: at least ``KIND`` and the number of trials.
        force: Whether to replace it anyway.

    Raises:
        UserError: If the existing file must be kept.
    """
    if force or not file.exists():
        return
    known = read_yaml(file, "Repair it, or add --force.")
    kept: dict[str, Any] = known if isinstance(known, dict) else {}
    other = [f"{key} {kept.get(key)}" for key in KIND if str(kept.get(key)) != str(content[key])]
    trials = kept.get("trials")
    longer = isinstance(trials, int) and trials > content["trials"]
    if other or longer:
        told = ", ".join(other) or f"{trials} trials against {content['trials']}"
        raise UserError(
            f"{file.name} of {content['method']} contains another study ({told}), which is kept.",
            "Write elsewhere with --out, request at least as many --trials, or add --force.",
        )


def write_tuned(
    task: StudyTask, definition: Mapping[str, Any], found: Outcome, labels: str, out: Path, *, force: bool = False
) -> Path | None:
    """Writes ``<out>/<method>/<dataset>.yaml``; nothing if no trial may be used.

    Args:
        task: The study.
        definition: Its definition.
        found: Its outcome.
        labels: Labels used by the objective.
        out: Parent folder of the tuned settings.
        force: Whether to replace a longer study, or one of another kind.

    Raises:
        UserError: If there is one and it must be kept.
    """
    if found.best is None:
        return None
    data = definition["data"]
    content = {
        "method": task.method,
        "method_version": definition["method_version"],
        "dataset": data["dataset"],
        "dataset_version": data["version"],
        "source": data["source"],
        "fingerprint": data["fingerprint"],
        "preset": task.preset,
        "seed": task.seed,
        "study": found.study,
        "space": definition["space"],
        "objective": task.objective,
        "lesions": definition["lesions"],
        "measure": task.measure,
        "labels": labels,
        "trials": len(found.trials),
        "value": round(found.best.values[0], 6),
        "gain_over_preset": None if found.gain is None else _rounded(found.gain),
        "config": json.loads(found.best.user_attrs["config"]),
    }
    file = tuned_file(task, out)
    check_replaceable(file, content, force=force)
    head = "# Written by `uadbench tune`; read by `uadbench run --tuned`.\n"
    return atomic_text(file, head + yaml.safe_dump(content, sort_keys=False))


def tuned_file(task: StudyTask, out: Path) -> Path:
    """Returns the path of a study's settings."""
    return out / task.method / f"{task.dataset}.yaml"


def _rounded(found: Difference) -> dict[str, float | None]:
    ends = {"mean": found.value, "low": found.low, "high": found.high}
    return {name: None if end is None else round(end, 6) for name, end in ends.items()}
