"""Studies with a made-up objective."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import FloatDistribution, IntDistribution
from optuna.trial import TrialState

from uadbench.tuning.book import Book
from uadbench.tuning.space import Space
from uadbench.tuning.task import StudyTask


def suggest(trial: optuna.Trial) -> dict[str, Any]:
    return {"lr": trial.suggest_float("lr", 0.0, 1.0), "t": trial.suggest_int("t", 0, 9)}


SPACE = Space(
    suggest=suggest,
    distributions={"lr": FloatDistribution(0, 1), "t": IntDistribution(0, 9)},
    training=frozenset({"lr"}),
    inference=frozenset({"t"}),
    choices={},
    hash="space",
)


def book(folder: Path, trials: int = 6, space: str = "space", **options: Any) -> Book:
    values = {"method": "dae", "dataset": "d", "store": folder, "name": "s", "folder": folder, "settings": 3}
    task = StudyTask.model_validate(
        {**values, "storage": f"sqlite:///{folder}/s.db", "trials": trials, "beat": 1, "grace": 2, **options}
    )
    return Book(task, SPACE, {"space": space, "seed": task.seed}, {"lr": 0.5, "t": 3})


def work(book: Book, *, limit: int | None = None, naps: float = 0.0) -> int:
    """Does slots with a made-up objective; returns how many."""
    held, done = None, 0
    while limit is None or done < limit:
        claimed = book.claim(held)
        if claimed == "over":
            break
        if claimed == "wait":
            time.sleep(0.1)
            continue
        with book.alive(claimed):
            values = suggest(claimed)
            time.sleep(naps)
            book.finish(claimed, TrialState.COMPLETE, [values["lr"] + values["t"]])
        held = book.group(claimed.user_attrs["slot"])
        done += 1
    return done


def slots(book: Book, *states: TrialState) -> Counter[int]:
    return Counter(trial.user_attrs["slot"] for trial in book.study.get_trials() if trial.state in states)
