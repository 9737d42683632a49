"""A worker: claims slots, fits or reuses a fit, evaluates a setting, and stores the result."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

import optuna
import torch
from optuna.trial import TrialState
from rich.console import Console

from uadbench.core.catalog import METHODS
from uadbench.core.config import MethodConfig, is_result
from uadbench.core.errors import JobFailed, UserError
from uadbench.core.method import Method
from uadbench.core.roles import Role
from uadbench.core.types import ImageSpec
from uadbench.data.simulation.mixture import SyntheticLesions
from uadbench.data.storage.store import Item, Pixels, Store
from uadbench.runner.execution.device import pick_device
from uadbench.runner.execution.fixed_batch import FixedBatchPredictor, OutOfMemory
from uadbench.runner.execution.probe import pick_numerics
from uadbench.tuning.book import Book
from uadbench.tuning.fits import Fit, Fits
from uadbench.tuning.judge import Images, judge, thin
from uadbench.tuning.space import Space, load_space
from uadbench.tuning.task import StudyTask
from uadbench.tuning.view import TuningView

POLL = 0.5  # seconds between polls of the book while others work
WATCHED = 16  # number of images for pruning

Say = Callable[[str], None]


def open_view(task: StudyTask) -> TuningView:
    """Opens the data of a study without the test role."""
    return TuningView(Store(task.store), task.roles)


def open_book(task: StudyTask, view: TuningView, space: Space) -> Book:
    """Opens or starts the study."""
    kind = METHODS.load(task.method)
    definition = task.definition(asdict(view.head), space.hash, kind.version)
    return Book(task, space, definition, space.defaults(_resolve(kind, task, view)))


def _resolve(
    method: type[Method], task: StudyTask, view: TuningView, suggested: Mapping[str, Any] | None = None
) -> MethodConfig:
    """Returns the config that a run with ``suggested`` as tuned values would have on these data."""
    kind = method.config_type
    published = kind.published(task.preset, view.modality, view.head.polarity).values
    return kind.resolve(task.preset, suggested, published=published)


def lesion_images(task: StudyTask, view: TuningView) -> tuple[Pixels, list[Item]]:
    """Returns the images with lesions of the objective.

    Raises:
        UserError: If the dataset has none.
    """
    if task.objective == "val":
        items = view.role(Role.VAL)
        if not items:
            raise UserError(f"{task.dataset} has no 'val' patients.", "Use --objective synthetic.")
        return view, items
    calib = view.role(Role.CALIB)
    if not calib:
        raise UserError(f"{task.dataset} has no 'calib' patients to put synthetic lesions into.")
    lesions = SyntheticLesions(view, calib, view.head.polarity)
    return lesions, lesions.items


class Worker:
    """One process of a study.

    Args:
        task: The study.
        say: Called with one line per trial.
        console: Console for the progress of a fit; None for silence.
    """

    def __init__(self, task: StudyTask, say: Say, console: Console | None = None) -> None:
        self.task = task
        self._say = say
        self._method = METHODS.load(task.method)
        self._device = pick_device(task.device)
        if self._device.type == "cuda" and task.workers > 1:
            # each worker on a GPU is limited to its share: one that needs more fails without affecting others
            torch.cuda.set_per_process_memory_fraction(1 / task.workers)
        self._view = open_view(task)
        self._space = load_space(self._method, self._view.head.polarity)
        self.book = open_book(task, self._view, self._space)
        config = self._method.config_type.resolve(task.preset)
        size = config.image_size
        spec = ImageSpec(self._view.channels, size, size, self._view.head.polarity)
        wanted = "auto" if is_result(task.preset) else "fp32"  # as a run does
        numerics = self.book.numerics(pick_numerics(wanted, self._method.build, config, spec, self._device))
        self._fits = Fits(task, self._view, self._method, self._device, numerics, console)
        self._lesions, self._lesion_items = lesion_images(task, self._view)
        self._images: dict[int, tuple[Images, Images, Images]] = {}

    def run(self) -> None:
        """Works until every slot is done or the time has passed.

        Raises:
            UserError: If the storage fails.
        """
        deadline = None if self.task.timeout is None else time.monotonic() + self.task.timeout
        held: int | None = None
        while deadline is None or time.monotonic() < deadline:
            claimed = self.book.claim(held)
            if claimed == "over":
                return
            if claimed == "wait":
                time.sleep(POLL)
                continue
            held = self.book.group(int(claimed.user_attrs["slot"]))
            with self.book.alive(claimed):
                self._trial(claimed)

    def _trial(self, trial: optuna.Trial) -> None:
        began = time.monotonic()
        try:
            config = self._config(trial)
            values, words = self._evaluate(trial, config)
        except optuna.TrialPruned:
            self.book.finish(trial, TrialState.PRUNED)
            words = "pruned"
        except (JobFailed, UserError, torch.OutOfMemoryError) as error:
            trial.set_user_attr("reason", _reason(error, self.task.workers))
            self.book.finish(trial, TrialState.FAIL)
            words = f"failed: {_reason(error, self.task.workers)}"
        except OSError as error:
            self.book.release(trial)
            raise UserError(
                f"Study {self.task.name} cannot store its fits: {error.strerror or error}.",
                "Free some space, or write elsewhere; repeat the command to resume.",
            ) from error
        except BaseException:
            self.book.release(trial)
            raise
        else:
            self.book.finish(trial, TrialState.COMPLETE, values)
        slot = int(trial.user_attrs["slot"])
        if self.book.group_is_done(slot):
            self._fits.drop_held()
        self._say(f"trial {slot + 1} of {self.task.trials}: {words} ({time.monotonic() - began:.1f} s)")

    def _config(self, trial: optuna.Trial) -> MethodConfig:
        suggested = self._space.suggest(trial)
        config = _resolve(self._method, self.task, self._view, suggested)
        values = config.model_dump(mode="json")
        trial.set_user_attr("config", json.dumps({key: values[key] for key in suggested}))
        trial.set_user_attr("preset", config == _resolve(self._method, self.task, self._view))
        return config

    def _evaluate(self, trial: optuna.Trial, config: MethodConfig) -> tuple[list[float], str]:
        task = self.task
        lesions, healthy, watched = self._images_for(config)
        prunes = task.pruner != "none" and not task.with_time
        fit = self._fits.get(config, trial if prunes else None, watched)
        method = self._fits.fitted(config, fit.weights)
        predict = FixedBatchPredictor(method, task.seed, config.predict_batch, self._device, self._say)
        milliseconds = self._milliseconds(predict, lesions) if task.with_time else None
        before = (fit.calls.asked, fit.calls.computed, fit.calls.distinct)
        fit.calls.attach(method)
        maps = [images.predict(predict) for images in (lesions, healthy)]
        found = judge(maps[0], maps[1])
        self._note(trial, fit, before, {"ap": found.ap, "dice": found.dice, "healthy_fp": found.healthy_fp})
        if task.max_healthy_fp is not None:
            trial.set_constraint("healthy_fp", found.healthy_fp - task.max_healthy_fp)
        quality = found.mean(task.measure)
        words = f"{task.measure} {quality:.4f}, healthy fp {found.healthy_fp:.4f}"
        if milliseconds is None:
            return [quality], words
        return [quality, milliseconds], f"{words}, {milliseconds:.1f} ms"

    def _note(self, trial: optuna.Trial, fit: Fit, before: tuple[int, int, int], found: dict[str, Any]) -> None:
        after = (fit.calls.asked, fit.calls.computed, fit.calls.distinct)
        calls = [now - then for now, then in zip(after, before, strict=True)]
        named = dict(zip(("asked", "computed", "distinct"), calls, strict=True))
        for key, value in {**found, "calls": named, "fit": fit.key}.items():
            trial.set_user_attr(key, value)

    def _milliseconds(self, predict: FixedBatchPredictor, timed: Images) -> float:
        """Time per image of one padded batch, the faster of two, without shared calls."""
        batch = predict.batch
        images = next(timed.batches.epoch(batch)).images
        best = float("inf")
        for _ in range(2):
            began = time.perf_counter()
            predict(images)
            best = min(best, time.perf_counter() - began)
        return 1000 * best / batch

    def _images_for(self, config: MethodConfig) -> tuple[Images, Images, Images]:
        """Images with lesions, healthy images, and the few images for pruning."""
        if config.image_size not in self._images:
            spec = self._fits.spec(config)
            items = thin(self._lesion_items, self.task.images)
            step = max(1, len(items) // WATCHED)
            self._images[config.image_size] = (
                Images(self._lesions, items, spec),
                Images(self._view, thin(self._view.role(Role.CALIB), self.task.images), spec),
                Images(self._lesions, items[::step][:WATCHED], spec),
            )
        return self._images[config.image_size]


def _reason(error: BaseException, workers: int) -> str:
    if isinstance(error, torch.OutOfMemoryError | OutOfMemory):
        return f"out of memory with {workers} workers: use fewer --workers or a smaller batch"
    return str(error)
