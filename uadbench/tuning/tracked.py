"""Tells a tracker of a study: one log a finished trial, each told once."""

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
    """Tells of all finished trials that the tracker does not hold yet, whichever worker made them."""

    def tell(tracker: Tracker) -> None:
        for trial in trials:
            tracked = tracked_trial(task, trial)
            if not tracker.holds(tracked.id):
                tracker.open(tracked).finish("done", trial_scalars(task, trial), {})

    tracking.tell(tell)


def tracked_trial(task: StudyTask, trial: FrozenTrial) -> Tracked:
    """Returns a trial as trackers see it: its study, and the settings as ``config.KEY``."""
    slot = slot_of(trial)
    names = ("method", "dataset", "preset", "objective", "measure", "seed")
    study: dict[str, Value] = {"study": task.name, **{name: getattr(task, name) for name in names}}
    settings: dict[str, Any] = json.loads(trial.user_attrs.get("config", "{}"))
    params = {**study, "state": trial.state.name.lower(), **{f"config.{key}": str(settings[key]) for key in settings}}
    return Tracked(stable_hash([study, slot]), f"tune {task.name}", f"trial {slot + 1}", params)


def trial_scalars(task: StudyTask, trial: FrozenTrial) -> dict[str, float]:
    """Returns what a trial was judged by, means over patients; nothing for one that was pruned or failed."""
    if trial.state != TrialState.COMPLETE:
        return {}
    found = trial.user_attrs
    scalars = {f"tune/{name}": mean(found[name].values()) for name in ("ap", "dice")}
    scalars["tune/healthy_fp"] = float(found["healthy_fp"])
    return scalars | ({"tune/ms_per_image": trial.values[1]} if task.with_time else {})
