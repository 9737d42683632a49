"""The context passed to ``fit``: device, seeds, progress, reports and checkpoints."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from rich.console import Console

from uadbench.core.errors import Diverged
from uadbench.core.numerics import Numerics
from uadbench.core.seeding import derive_seed, torch_generator
from uadbench.runner.progress.bars import stage_bar
from uadbench.runner.storage.run_folder import RunFolder

CHECKPOINT_SECONDS = 30.0
LOG_EVERY = 10

# Called after a report with the phase's position (0 for the first), the step and the phase's number of steps.
Watch = Callable[[int, int, int], None]
# Called with each report: phase, step and scalars.
Track = Callable[[str, int, Mapping[str, float]], None]


class RunFitContext:
    """The ``Run`` of a job on one device.

    Args:
        folder: Folder for checkpoints and the log.
        seed: Seed of the run.
        device: Device to train on.
        numerics: Number format and layout to compute in.
        console: Console for the progress bar; None for silence.
        checkpoint_seconds: Minimum time between two checkpoints.
        watch: Called with every report; when tuning it may end the fit by raising ``optuna.TrialPruned``.
        track: Called with every report; its time is not counted as training.
        what: Text of progress bars before the name of the phase.
        later: Seconds of prediction for each second of training, for the time left; None if unknown.
    """

    def __init__(
        self,
        folder: RunFolder,
        seed: int,
        device: torch.device,
        numerics: Numerics,
        console: Console | None,
        checkpoint_seconds: float = CHECKPOINT_SECONDS,
        watch: Watch | None = None,
        track: Track | None = None,
        what: str = "training",
        later: float | None = None,
    ) -> None:
        self._folder = folder
        self._seed = seed
        self.device = device
        self.bf16 = numerics.bf16
        self.channels_last = numerics.channels_last
        self._console = console
        self._interval = checkpoint_seconds
        self._saved_at = time.monotonic()
        self._began = time.monotonic()
        self._earlier = 0.0
        self._status = ""
        self._watch = watch
        self._track = track
        self._what = what
        self._later = later
        self._aside = 0.0
        self._phases = 0
        self._phase = "fit"
        self._total = 0

    @property
    def train_seconds(self) -> float:
        """Seconds spent in ``fit``, including those before an interruption."""
        return self._earlier + time.monotonic() - self._began - self._aside

    def generator(self, *key: str | int) -> torch.Generator:
        """Returns a CPU generator seeded from the run's seed and the key."""
        return torch_generator("fit", self._seed, *key)

    def steps(self, phase: str, start: int, total: int) -> Iterator[int]:
        """Yields start..total-1 under a progress bar.

        The global generator is reseeded at each step, so that dropout is also the same after a resume.
        """
        self._phases += 1
        self._phase, self._total = phase, total
        with stage_bar(self._console, f"{self._what} ({phase})", total, start, self._later) as bar:
            for step in range(start, total):
                torch.manual_seed(derive_seed("global", self._seed, phase, step))
                yield step
                bar.update(step + 1, self._status)

    def report(self, step: int, **scalars: float) -> None:
        """Logs scalars and, when tuning, lets the study prune the fit.

        Raises:
            Diverged: If one is not finite.
        """
        for value in scalars.values():
            if not math.isfinite(value):
                raise Diverged(step, value)
        self._status = " ".join(f"{name} {value:.4g}" for name, value in scalars.items())
        if step % LOG_EVERY == 0:
            self._folder.log(step=step, seconds=round(self.train_seconds, 3), **scalars)
        if self._track is not None:
            told = time.monotonic()
            self._track(self._phase, step, scalars)
            self._aside += time.monotonic() - told
        if self._watch is not None and self._phases:
            self._watch(self._phases - 1, step, self._total)

    def resume(self, phase: str, **parts: Any) -> int:
        """Loads the parts from the newest checkpoint of the phase and returns the number of completed steps."""
        content = self._folder.load_checkpoint(phase)
        if content is None:
            return 0
        for name, part in parts.items():
            part.load_state_dict(content["parts"][name])
        self._earlier = max(self._earlier, float(content["seconds"]))
        return int(content["step"])

    def checkpoint(self, phase: str, step: int, **parts: Any) -> None:
        """Writes a checkpoint if the last one is old enough."""
        if time.monotonic() - self._saved_at < self._interval:
            return
        states = {name: part.state_dict() for name, part in parts.items()}
        self._folder.save_checkpoint(phase, {"step": step, "seconds": self.train_seconds, "parts": states})
        self._saved_at = time.monotonic()
