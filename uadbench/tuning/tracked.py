"""Logs a study to a tracker: one log per finished trial, each only once."""

from __future__ import annotations

import json
from collections.abc import Sequence
from statistics import mean
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from uadbench.core.record import stable_hash
from uadbench.runner.tracking.tracker import Tracked, Tracker, Tracking, Value
from uadbench.tuning.result import slot_of
from uadbench.tuning.task import StudyTask


def tell_trials(tracking: Tracking, task: StudyTask, trials: Sequence[FrozenTrial]) -> None:
    """Logs all finished trials that are not in the tracker yet, from any worker."""

    def tell(tracker: Tracker) -> None:
        for trial in trials:
            tracked = tracked_trial(task, trial)
            if not tracker.holds(tracked.id):
                tracker.open(tracked).finish("done", trial_scalars(task, trial), {})

    tracking.tell(tell)


def tracked_trial(task: StudyTask, trial: FrozenTrial) -> Tracked:
    """Returns a trial for trackers: its study, and the settings as ``config.KEY``."""
    slot = slot_of(trial)
    names = ("method", "dataset", "preset", "objective", "measure", "seed")
    study: dict[str, Value] = {"study": task.name, **{name: getattr(task, name) for name in names}}
    settings: dict[str, Any] = json.loads(trial.user_attrs.get("config", "{}"))
    params = {**study, "state": trial.state.name.lower(), **{f"config.{key}": str(settings[key]) for key in settings}}
    return Tracked(stable_hash([study, slot]), f"tune {task.name}", f"trial {slot + 1}", params)


def trial_scalars(task: StudyTask, trial: FrozenTrial) -> dict[str, float]:
    """Returns the metrics of a trial, means over patients; nothing if it was pruned or failed."""
    if trial.state != TrialState.COMPLETE:
        return {}
    found = trial.user_attrs
    scalars = {f"tune/{name}": mean(found[name].values()) for name in ("ap", "dice")}
    scalars["tune/healthy_fp"] = float(found["healthy_fp"])
    return scalars | ({"tune/ms_per_image": trial.values[1]} if task.with_time else {})
