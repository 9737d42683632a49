"""Runs a study with one or several processes and writes its results."""

from __future__ import annotations

import multiprocessing
import os
import sys
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.console import Console

from uadbench.core.catalog import METHODS
from uadbench.core.errors import JobFailed, UserError
from uadbench.core.roles import Role, Supervision
from uadbench.tuning.page import write_page
from uadbench.tuning.result import Outcome, check_replaceable, outcome, tuned_file, write_tuned
from uadbench.tuning.space import load_space
from uadbench.tuning.task import StudyTask
from uadbench.tuning.view import TuningView
from uadbench.tuning.worker import Say, Worker, lesion_images, open_book, open_view

BAD_INPUT, INTERRUPTED = 2, 130


@dataclass(frozen=True)
class Tuning:
    """Results for the command line.

    Attributes:
        outcome: The study.
        file: The tuned settings; None if no trial may be used.
        page: The page.
    """

    outcome: Outcome
    file: Path | None
    page: Path


def tune(task: StudyTask, out: Path, say: Say, console: Console | None = None, *, force: bool = False) -> Tuning:
    """Runs the study's slots and writes the tuned settings and the page.

    Args:
        task: The study.
        out: Parent folder of the tuned settings.
        say: Called with one line per trial.
        console: Console for the progress of a single worker's fits.
        force: Whether to replace the file of a longer study, or of one of another kind.

    Raises:
        UserError: If the data, the space or the storage cannot be used, the study was started differently, or the file
            of
            another study would be lost.
        JobFailed: If no trial was finished, or workers died.
    """
    view = open_view(task)
    _require_roles(task, view)
    space = load_space(METHODS.load(task.method), view.head.polarity)
    asked = {**task.model_dump(), "source": view.head.source}
    check_replaceable(tuned_file(task, out), asked, force=force)
    book = open_book(task, view, space)  # refuses a changed study before starting processes
    if task.workers == 1:
        Worker(task, say, console).run()
    else:
        _run_workers(task)
    definition = book.study.user_attrs["definition"]
    found = outcome(task, definition, book.trials())
    if not found.trials:
        raise JobFailed("No trial was finished in the given time; repeat the command to resume.")
    page = write_page(task, definition, found)
    return Tuning(found, write_tuned(task, definition, found, labels_used(task, view), out, force=force), page)


def labels_used(task: StudyTask, view: TuningView) -> str:
    """Returns the labels used by the objective."""
    if task.objective == "synthetic":
        return "none"
    items = view.role(Role.VAL)
    return f"val masks ({len(items)} images of {len({item.patient for item in items})} patients)"


def _require_roles(task: StudyTask, view: TuningView) -> None:
    """Fails before any work on data that lack a role."""
    supervision = METHODS.load(task.method).supervision
    needed = [Role.CALIB]
    needed += [Role.TRAIN] if supervision != Supervision.NONE else []
    needed += [Role.LABELLED] if supervision == Supervision.MASKS else []
    for role in needed:
        if not view.role(role):
            raise UserError(f"{task.dataset} has no '{role}' patients.", "Tune on a dataset that has them.")
    lesion_images(task, view)


def _run_workers(task: StudyTask) -> None:
    """Starts the workers of this machine and waits for them."""
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=work, args=(task,)) for _ in range(task.workers)]
    for worker in workers:
        worker.start()
    try:
        for worker in workers:
            worker.join()
    except KeyboardInterrupt:
        for worker in workers:  # the terminal signals them too: they return their trials first
            worker.join()
        raise
    codes = [worker.exitcode for worker in workers]
    if BAD_INPUT in codes:
        raise UserError("A worker failed; its message is above.")
    if all(code != 0 for code in codes):
        raise JobFailed("All workers died; the same command goes on where they stopped.")


def work(task: StudyTask) -> None:
    """Body of a worker process."""
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // task.workers))

    def say(line: str) -> None:
        print(line, file=sys.stderr, flush=True)  # noqa: T201 (a worker has no other voice)

    try:
        Worker(task, say).run()
    except (UserError, JobFailed) as error:
        say(f"uadbench: {error}")
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
