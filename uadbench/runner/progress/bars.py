"""Progress bars of a run's stages, with the time left in the stage and in the whole run."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn
from rich.table import Column
from rich.text import Text


class StageBar:
    """The bar of one stage.

    Args:
        bars: Where it is drawn.
        what: Its text.
        total: Number of steps.
        done: Number of steps already done.
        later: Seconds of the later stages for each second of this one; None if unknown.
    """

    def __init__(self, bars: Progress, what: str, total: int, done: int, later: float | None) -> None:
        self._bars = bars
        self._task = bars.add_task(what, total=total, completed=done, status="", later=later)

    def update(self, done: int, status: str) -> None:
        """Shows the number of steps done and a few words."""
        self._bars.update(self._task, completed=done, status=status)

    def advance(self, steps: int) -> None:
        """Adds steps done."""
        self._bars.advance(self._task, steps)


class TimeLeft(ProgressColumn):
    """Time left in a stage, then in the whole run if later stages are known to take time."""

    max_refresh = 0.5

    def render(self, task: Task) -> Text:
        """Returns for example "1:02, run 2:10 left"."""
        left, later = task.time_remaining, task.fields["later"]
        if left is None or task.speed is None or task.total is None:
            return Text("-:--", style="progress.remaining")
        text = _clock(left)
        if later:
            text += f", run {_clock(left + later * task.total / task.speed)}"
        return Text(f"{text} left", style="progress.remaining")


@contextmanager
def stage_bar(
    console: Console | None, what: str, total: int, done: int = 0, later: float | None = 0.0
) -> Generator[StageBar]:
    """Draws a stage's bar until the block ends.

    Args:
        console: Where it is drawn; None for silence.
        what: Text before the bar.
        total: Number of steps.
        done: Number of steps already done.
        later: Seconds of the later stages for each second of this one; None if unknown.
    """
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=None, table_column=Column(ratio=1)),  # gives way to the texts
        MofNCompleteColumn(),
        TextColumn("{task.fields[status]}"),
        TimeLeft(table_column=Column(no_wrap=True)),
    )
    shown = console or Console(quiet=True)
    with Progress(*columns, console=shown, disable=console is None, transient=True, expand=True) as bars:
        yield StageBar(bars, what, total, done, later)


def _clock(left: float) -> str:
    minutes, seconds = divmod(round(left), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
