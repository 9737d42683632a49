"""Where the command line writes: results to stdout, progress to stderr."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console

if TYPE_CHECKING:
    from uadbench.core.dataset import Progress


def to_stdout() -> Console:
    """Returns a console for results."""
    return Console()


def to_stderr() -> Console:
    """Returns a console for progress and notes."""
    return Console(stderr=True)


@contextmanager
def progress_bar(what: str) -> Generator[Progress]:
    """Yields a callback (done, total, text) that draws a bar on stderr."""
    from rich.progress import Progress as Bar

    with Bar(console=to_stderr(), transient=True) as bar:
        task = bar.add_task(what, total=None, visible=False)

        def show(done: int, total: int, text: str) -> None:
            bar.update(task, completed=done, total=total, description=text, visible=True)

        yield show
