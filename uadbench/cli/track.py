"""The options ``--track`` and ``--track-to``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from uadbench.cli.terminal.console import to_stderr
from uadbench.core.errors import UserError

if TYPE_CHECKING:
    from uadbench.runner.tracking.tracker import Tracking


def chosen_tracking(
    track: str | None, place: str | None, root: Path, *, include_images: bool = False
) -> Tracking | None:
    """Returns the requested tracker, None if there is none.

    Args:
        track: Name of the tracker.
        place: Where it stores its logs, None for its default below ``root``.
        root: Folder of the runs.
        include_images: Whether images of real patients may be sent to it.

    Raises:
        UserError: If it is not installed, or the place cannot be used.
    """
    if track is None:
        if place is not None:
            raise UserError("--track-to was given without a tracker.", "Add --track tensorboard or --track mlflow.")
        return None
    from uadbench.runner.tracking.open import open_tracker
    from uadbench.runner.tracking.tracker import Tracking

    stderr = to_stderr()
    return Tracking(open_tracker(track, place, root), lambda line: stderr.out(line, highlight=False), include_images)
