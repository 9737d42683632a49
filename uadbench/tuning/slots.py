"""The slots of a study: the state of each according to its trials, and how many share a fit."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Literal

from optuna.trial import FrozenTrial, TrialState

from uadbench.tuning.space import Space
from uadbench.tuning.storage import RETRIES

WHOLE = 2**31  # more slots than a study has

SlotState = Literal["open", "running", "done"]


@dataclass(frozen=True)
class Slot:
    """A slot of the study.

    Attributes:
        state: Open, running, or done.
        trial: Its newest trial that counts, if there is one.
    """

    state: SlotState
    trial: FrozenTrial | None = None


def slots_of(trials: list[FrozenTrial]) -> dict[int, Slot]:
    """Returns the state of every slot with a trial.

    A failed trial completes its slot only if it has a reason (a diverged training, for example); one without a reason
    lost its worker, and its slot is open unless another trial took over or too many workers were lost on it.
    """
    slots: dict[int, Slot] = {}
    lost: Counter[int] = Counter()
    for trial in sorted(trials, key=lambda trial: trial.number):
        slot = trial.user_attrs.get("slot")
        if slot is None or "surplus" in trial.user_attrs:
            continue
        known = slots.setdefault(slot, Slot("open"))
        if known.state == "done":
            continue
        if trial.state == TrialState.FAIL and "reason" not in trial.user_attrs:
            lost[slot] += "released" not in trial.user_attrs
            if lost[slot] > RETRIES:
                slots[slot] = Slot("done", trial)
            continue
        if trial.state.is_finished():
            slots[slot] = Slot("done", trial)
        elif trial.state == TrialState.RUNNING:
            slots[slot] = Slot("running", trial)
        elif known.trial is None:
            slots[slot] = Slot("open", trial)
    return slots


def group_size(settings: int, space: Space) -> int:
    """Returns how many slots share a fit: no more than there are settings; all if none differs in training."""
    return max(1, int(min(settings, space.settings))) if space.training else WHOLE
