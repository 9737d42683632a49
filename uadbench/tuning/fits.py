"""Fits of a study: one for each set of training parameters, stored until its group of trials is done."""

from __future__ import annotations

import shutil
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import optuna
import torch
from filelock import FileLock
from rich.console import Console

from uadbench.core.config import MethodConfig
from uadbench.core.method import Method
from uadbench.core.numerics import Numerics
from uadbench.core.types import ImageSpec
from uadbench.runner.execution.fit import fit_on_store
from uadbench.runner.execution.fit_context import RunFitContext
from uadbench.runner.execution.fixed_batch import FixedBatchPredictor
from uadbench.runner.execution.seeded import build_seeded
from uadbench.runner.planning.plan import fit_key
from uadbench.runner.storage.run_folder import RunFolder
from uadbench.tuning.book import MILESTONES
from uadbench.tuning.judge import Images, judge
from uadbench.tuning.shared import MEMORY, SharedCalls
from uadbench.tuning.task import StudyTask
from uadbench.tuning.view import TuningView

Weights = Mapping[str, torch.Tensor]


@dataclass(frozen=True)
class Fit:
    """A fitted set of training parameters.

    Attributes:
        key: Hash of what defines it.
        weights: The trained weights, on the CPU.
        calls: Network calls shared by its settings.
    """

    key: str
    weights: Weights
    calls: SharedCalls


class Fits:
    """Runs fits, or loads stored ones.

    Args:
        task: The study.
        view: Its data.
        method: The method's class.
        device: Where to train.
        numerics: Number format and layout of every fit.
        console: Console for progress; None for silence.
    """

    def __init__(
        self,
        task: StudyTask,
        view: TuningView,
        method: type[Method],
        device: torch.device,
        numerics: Numerics,
        console: Console | None = None,
    ) -> None:
        self._task = task
        self._view = view
        self._method = method
        self._device = device
        self._numerics = numerics
        self._console = console
        self._held: Fit | None = None

    def spec(self, config: MethodConfig) -> ImageSpec:
        """Returns the shape that a config's method is built for."""
        return ImageSpec(self._view.channels, config.image_size, config.image_size, self._view.head.polarity)

    def get(self, config: MethodConfig, trial: optuna.Trial | None, watched: Images | None) -> Fit:
        """Returns the fit of a config.

        Args:
            config: Config; inference keys do not matter.
            trial: Trial that may be pruned during the fit; None for a fit that is always finished.
            watched: A few images with lesions for pruning.

        Raises:
            TrialPruned: If it is worse than earlier fits.
            JobFailed: If it fails.
        """
        key = fit_key(
            self._task.method,
            self._method.version,
            config,
            self._view.head.fingerprint,
            self._task.seed,
            str(self._numerics),
        )
        if self._held is None or self._held.key != key:
            memory = MEMORY // self._task.workers
            self._held = Fit(key, self._stored(key, config, trial, watched), SharedCalls(memory))
        return self._held

    def fitted(self, config: MethodConfig, weights: Weights) -> Method:
        """Builds a method with weights."""
        method = build_seeded(self._task.method, config, self.spec(config), self._task.seed)
        method.load_state_dict(weights)
        return method.to(self._device)

    def drop_held(self) -> None:
        """Removes the loaded fit, which no trial needs any more."""
        if self._held is not None:
            self._drop(self._held.key)
            self._held = None

    def _drop(self, key: str) -> None:
        shutil.rmtree(self._folder(key).path, ignore_errors=True)

    def _folder(self, key: str) -> RunFolder:
        return RunFolder(self._task.folder / "fits" / key)

    def _stored(self, key: str, config: MethodConfig, trial: optuna.Trial | None, watched: Images | None) -> Weights:
        folder = self._folder(key)
        folder.path.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.path.with_suffix(".lock")):  # another worker may be running the same fit: wait for it
            if folder.weights_file.exists():
                return folder.load_weights()
            method = build_seeded(self._task.method, config, self.spec(config), self._task.seed).to(self._device)
            watch = None if trial is None or watched is None else Watchdog(trial, method, watched, config, self._task)
            run = RunFitContext(folder, self._task.seed, self._device, self._numerics, self._console, watch=watch)
            try:
                fit_on_store(method, self._view, self.spec(config), config, self._task.seed, run)
            except optuna.TrialPruned:
                self._drop(key)
                raise
            folder.save_weights(method.state_dict())
            folder.drop_checkpoints()
            return {name: value.detach().cpu() for name, value in method.state_dict().items()}


class Watchdog:
    """Prunes a fit by its objective on a few lesions after each part of a phase.

    Losses of different noises are not comparable, so the study's own objective is reported. The fit itself is not
    changed: its weights are those of a fit without pruning.

    Args:
        trial: The trial.
        method: The method under training.
        images: A few images with lesions.
        config: Its config.
        task: The study.
    """

    def __init__(
        self, trial: optuna.Trial, method: Method, images: Images, config: MethodConfig, task: StudyTask
    ) -> None:
        self._trial = trial
        self._method = method
        self._images = images
        self._config = config
        self._task = task

    def __call__(self, phase: int, step: int, total: int) -> None:
        """Reports at the milestones of a phase.

        Raises:
            TrialPruned: If the study's pruner decides so.
        """
        marks = [round(total * part / MILESTONES) for part in range(1, MILESTONES)]
        if total < 2 * MILESTONES or step not in marks:
            return
        with untouched(self._method):
            self._trial.report(self._score(), phase * MILESTONES + marks.index(step) + 1)
        if self._trial.should_prune():
            raise optuna.TrialPruned

    def _score(self) -> float:
        device = next(iter(self._method.state_dict().values())).device
        cases = self._images.predict(
            FixedBatchPredictor(self._method, self._task.seed, self._config.predict_batch, device)
        )
        return judge(cases, cases).mean("ap")


@contextmanager
def untouched(method: Method) -> Generator[None]:
    """Restores training modes and random states."""
    modules = list(method.modules()) if isinstance(method, torch.nn.Module) else []
    modes = [module.training for module in modules]
    with torch.random.fork_rng():
        try:
            yield
        finally:
            for module, mode in zip(modules, modes, strict=True):
                module.training = mode
