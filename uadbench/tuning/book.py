"""The book of a study: numbered slots, each run exactly once, even if workers die.

A study of N trials has the slots 0 to N-1. Slots form groups that share one fit: the first of a group samples the
training parameters, the others reuse them and sample inference settings. A trial whose worker died is failed by
its missing heartbeat, and its slot is reopened with the same parameters. All state is in the database, so any number
of workers on any number of machines read the same book.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Literal

import optuna
from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import SQLAlchemyError

from uadbench.core.errors import UserError
from uadbench.core.numerics import Numerics
from uadbench.core.seeding import derive_seed
from uadbench.tuning.slots import Slot, group_size, slots_of
from uadbench.tuning.space import Space
from uadbench.tuning.storage import drawn, lock, open_storage, quiet, shown, storage_errors
from uadbench.tuning.task import StudyTask

STARTUP = 10  # random trials before the model of the objective is used
MILESTONES = 4  # parts of a training phase after which a fit may be pruned


class Book:
    """A study in its database.

    Args:
        task: What to tune.
        space: The method's space.
        definition: What must be the same for the study to be continued.
        first: Parameters of slot 0: the preset's.

    Raises:
        UserError: If the storage cannot be used, or the study was started with another definition.
    """

    def __init__(
        self, task: StudyTask, space: Space, definition: Mapping[str, Any], first: Mapping[str, Any] | None = None
    ) -> None:
        self.task = task
        self._space = space
        self._first = dict(first or {})
        self._size = group_size(task.settings, space)
        self._storage: RDBStorage = open_storage(task.storage, task.beat, task.grace)
        with storage_errors(task.storage), quiet(), lock(task.storage):
            self.study = optuna.create_study(
                study_name=task.name,
                storage=self._storage,
                load_if_exists=True,
                directions=["maximize", "minimize"] if task.with_time else ["maximize"],
                pruner=make_pruner(task),
            )
            stored = self.study.user_attrs.get("definition")
            if stored is None:
                self.study.set_user_attr("definition", dict(definition))
                self.study.set_metric_names(["quality", "ms_per_image"] if task.with_time else [task.measure])
            self._id = self._storage.get_study_id_from_name(task.name)
        if stored is not None:
            check_definition(task, stored, definition)

    def numerics(self, pick: Numerics) -> Numerics:
        """Returns the numerics of all fits of the study, chosen by its first worker."""
        with storage_errors(self.task.storage), lock(self.task.storage):
            if "numerics" not in self.study.user_attrs:
                self.study.set_user_attr("numerics", str(pick))
            return Numerics.parse(str(self.study.user_attrs["numerics"]))

    def trials(self) -> list[FrozenTrial]:
        """Returns the trials that count: one per finished slot, by slot."""
        with storage_errors(self.task.storage):
            slots = slots_of(self._all())
        done = [slot.trial for _, slot in sorted(slots.items()) if slot.state == "done"]
        return [trial for trial in done if trial is not None]

    def claim(self, held: int | None) -> optuna.Trial | Literal["wait", "over"]:
        """Claims the next slot.

        Args:
            held: Group whose fit this worker has loaded.

        Returns:
            A running trial; "wait" if others must finish first; "over" if every slot is done.
        """
        with storage_errors(self.task.storage), quiet(), lock(self.task.storage):
            optuna.storages.fail_stale_trials(self.study)
            trials = self._all()
            slots = slots_of(trials)
            states = [slots.get(i, Slot("open")).state for i in range(self.task.trials)]
            for slot in self._preferred(states, held):
                trial = self._take(slot, slots.get(slot, Slot("open")), trials)
                if trial is not None:
                    return trial
            return "over" if all(state == "done" for state in states) else "wait"

    def finish(self, trial: optuna.Trial, state: TrialState, values: list[float] | None = None) -> None:
        """Ends a trial, unless it was considered dead and retried elsewhere."""
        with storage_errors(self.task.storage), quiet():
            try:
                self.study.tell(trial, values, state=state)
            except (UpdateFinishedTrialError, ValueError):
                if not self._finished(trial):
                    raise

    def release(self, trial: optuna.Trial) -> None:
        """Returns a slot with its parameters, as if its worker had died."""
        with storage_errors(self.task.storage), quiet(), lock(self.task.storage):
            if self._finished(trial):
                return
            trial.set_user_attr("released", True)
            self.study.tell(trial, state=TrialState.FAIL)
            frozen = self._frozen(trial.number)
            params, distributions = drawn(frozen)
            again = optuna.trial.create_trial(
                state=TrialState.WAITING,
                params=params,
                distributions=distributions,
                user_attrs={"slot": frozen.user_attrs["slot"]},
                system_attrs={"fixed_params": frozen.system_attrs.get("fixed_params", {})},
            )
            self._storage.create_new_trial(self._id, again)

    @contextmanager
    def alive(self, trial: optuna.Trial) -> Generator[None]:
        """Records heartbeats of a trial while the block runs."""
        trial_id = self._trial_id(trial.number)
        stop = threading.Event()

        def beat() -> None:
            while not stop.wait(self.task.beat):
                # a short database outage costs one heartbeat; a longer one is reported at the end of the trial
                with suppress(SQLAlchemyError, StorageInternalError):
                    self._storage.record_heartbeat(trial_id)

        thread = threading.Thread(target=beat, daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    def group(self, slot: int) -> int:
        """Returns the group of a slot."""
        return slot // self._size

    def group_is_done(self, slot: int) -> bool:
        """Whether all slots that share a slot's fit are done."""
        slots = slots_of(self._all())
        start = self.group(slot) * self._size
        whole = range(start, min(start + self._size, self.task.trials))
        return all(slots.get(i, Slot("open")).state == "done" for i in whole)

    def _preferred(self, states: Sequence[str], held: int | None) -> list[int]:
        """Open slots in order of preference: of the loaded fit, of a new fit, of the fits of others."""
        ready: list[tuple[int, int]] = []
        for slot, state in enumerate(states):
            if state != "open":
                continue
            group = self.group(slot)
            leader = group * self._size
            if slot != leader and states[leader] != "done":
                continue  # its fit is in progress or must be run first
            ready.append((0 if group == held else 1 if slot == leader else 2, slot))
        return [slot for _, slot in sorted(ready)]

    def _take(self, slot: int, found: Slot, trials: list[FrozenTrial]) -> optuna.Trial | None:
        number = found.trial.number if found.trial is not None else self._enqueue(slot, trials)
        trial_id = self._trial_id(number)
        # before the trial counts as running: otherwise a worker killed in between would not be detected
        self._storage.record_heartbeat(trial_id)
        if not self._storage.set_trial_state_values(trial_id, TrialState.RUNNING):
            return None
        if self._rank(slot, number) > 0:
            # two clients opened the slot at once: the lower number keeps it
            self._storage.set_trial_user_attr(trial_id, "surplus", True)
            self._storage.set_trial_state_values(trial_id, TrialState.FAIL)
            return None
        seed = derive_seed("tune", self.task.seed, slot) % 2**32
        # new for each slot, so that an interrupted study gives the trials of an uninterrupted one
        self.study.sampler = optuna.samplers.TPESampler(
            seed=seed, n_startup_trials=STARTUP, multivariate=True, group=True
        )
        return optuna.Trial(self.study, trial_id)

    def _enqueue(self, slot: int, trials: list[FrozenTrial]) -> int:
        fixed = self._first if slot == 0 else self._shared(slot, trials)
        template = optuna.trial.create_trial(
            state=TrialState.WAITING, user_attrs={"slot": slot}, system_attrs={"fixed_params": fixed}
        )
        trial_id = self._storage.create_new_trial(self._id, template)
        return self._storage.get_trial(trial_id).number

    def _shared(self, slot: int, trials: list[FrozenTrial]) -> dict[str, Any]:
        """Training parameters of the first finished trial of the group, if any."""
        complete = [
            trial
            for trial in trials
            if trial.state == TrialState.COMPLETE and self.group(trial.user_attrs["slot"]) == self.group(slot)
        ]
        anchor = min(complete, key=lambda trial: trial.user_attrs["slot"], default=None)
        if anchor is None:
            return {}
        return {name: value for name, value in anchor.params.items() if name in self._space.training}

    def _rank(self, slot: int, number: int) -> int:
        """Number of other live trials of the slot with a lower number."""
        return sum(
            trial.number < number
            and trial.user_attrs.get("slot") == slot
            and "surplus" not in trial.user_attrs
            and (trial.state != TrialState.FAIL or "reason" in trial.user_attrs)
            for trial in self._all()
        )

    def _all(self) -> list[FrozenTrial]:
        return self.study.get_trials(deepcopy=False)

    def _trial_id(self, number: int) -> int:
        return self._storage.get_trial_id_from_study_id_trial_number(self._id, number)

    def _frozen(self, number: int) -> FrozenTrial:
        return self._storage.get_trial(self._trial_id(number))

    def _finished(self, trial: optuna.Trial) -> bool:
        return self._frozen(trial.number).state.is_finished()


def make_pruner(task: StudyTask) -> optuna.pruners.BasePruner:
    """Returns the pruner; Optuna prunes only single objectives."""
    if task.pruner == "none" or task.with_time:
        return optuna.pruners.NopPruner()
    if task.pruner == "hyperband":
        return optuna.pruners.HyperbandPruner(min_resource=1, max_resource=MILESTONES, reduction_factor=2)
    return optuna.pruners.MedianPruner(n_startup_trials=STARTUP // 2, n_min_trials=2)


def check_definition(task: StudyTask, stored: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Refuses to mix trials that are not comparable.

    Raises:
        UserError: Naming what has changed since the study was started.
    """
    changed = sorted(key for key in {*stored, *wanted} if stored.get(key) != wanted.get(key))
    if not changed:
        return
    remedy = "Restore it, or start a study with another name: --study NAME."
    key = changed[0] if "space" not in changed else "space"
    before, now = (json.dumps(part.get(key), sort_keys=True) for part in (stored, wanted))
    what = f"the search space of {task.method}" if key == "space" else f"'{key}'"
    raise UserError(
        f"Study {task.name} in {shown(task.storage)} was started with another value of {what}: {before}, now {now}.",
        remedy,
    )
