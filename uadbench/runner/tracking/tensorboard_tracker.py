"""TensorBoard: one folder of event files per run, with lightning-fabric's logger."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import tensorboard  # noqa: F401  # pyright: ignore[reportUnusedImport] (the logger alone would take tensorboardX)
from lightning_fabric.loggers.tensorboard import TensorBoardLogger
from PIL import Image

from uadbench.core.errors import UserError
from uadbench.runner.tracking.tracker import Status, Tracked

FINISHED = ".finished"
"""Marks the folder of a finished run."""


class TensorBoard:
    """Event files in ``<folder>/<group>/<name>-<id>``.

    Args:
        folder: Folder for ``tensorboard --logdir``.

    Raises:
        UserError: If the folder cannot be created.
    """

    def __init__(self, folder: Path) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(
                f"The folder {folder} cannot be created: {error.strerror}.", "Choose --track-to."
            ) from error
        self._folder = folder

    def holds(self, tracked_id: str) -> bool:
        """Whether there is a finished log with this id."""
        names = (f"*-{tracked_id}", f"*-{tracked_id}-*")
        return any(any(self._folder.glob(f"*/{name}/{FINISHED}")) for name in names)

    def open(self, tracked: Tracked) -> TensorBoardLog:
        """Starts a log, or resumes an interrupted one; a finished one is kept."""
        group = self._folder / _word(tracked.group)
        base = name = f"{_word(tracked.name)}-{tracked.id}"
        number = 1
        while (group / name / FINISHED).exists():
            number += 1
            name = f"{base}-{number}"
        return TensorBoardLog(group, name, tracked)


class TensorBoardLog:
    """The event files of one run.

    Args:
        group: Folder of its group.
        name: Its folder there.
        tracked: The tracked run or trial.
    """

    def __init__(self, group: Path, name: str, tracked: Tracked) -> None:
        self._params = dict(tracked.params)
        self._folder = group / name
        self._logger = TensorBoardLogger(group, name="", version=name, default_hp_metric=False)
        rows = "\n".join(f"| {key} | {value} |" for key, value in self._params.items())
        self._logger.experiment.add_text("job", f"| | |\n|---|---|\n{rows}")

    def step(self, step: int, scalars: Mapping[str, float]) -> None:
        """Logs scalars of a training step."""
        self._logger.log_metrics(scalars, step)

    def finish(self, status: Status, scalars: Mapping[str, float], pictures: Mapping[str, Path]) -> None:
        """Logs the final metrics, as scalars and in the hyper-parameter table, and the images."""
        try:
            if status != "interrupted":
                # One column per metric in the hyper-parameter table, without the limits of intervals.
                ends = {name: value for name, value in scalars.items() if name.endswith(("_low", "_high"))}
                self._logger.log_metrics(ends, 0)
                columns = {name: value for name, value in scalars.items() if name not in ends}
                self._logger.log_hyperparams(self._params, columns, step=0)
                for name, file in pictures.items():
                    with Image.open(file) as image:
                        self._logger.experiment.add_image(name, np.asarray(image.convert("RGB")), dataformats="HWC")
        finally:
            self._logger.finalize(status)
        if status == "done":
            (self._folder / FINISHED).touch()


def _word(text: str) -> str:
    """Returns a text as the name of a folder."""
    return re.sub(r"[^\w.=-]+", "-", text).strip("-.") or "run"
