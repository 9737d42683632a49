"""``uadbench bench``: a suite in one command."""

from __future__ import annotations

import signal
import time
from collections import Counter
from collections.abc import Generator
from contextlib import closing, contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

from uadbench.cli.terminal import complete
from uadbench.cli.terminal.console import progress_bar, to_stderr, to_stdout
from uadbench.core.errors import JobFailed, UnknownName

if TYPE_CHECKING:
    from rich.console import RenderableType

    from uadbench.runner.suites.estimate import Costs
    from uadbench.runner.suites.job_table import JobRow
    from uadbench.runner.suites.planned_rows import PlannedRow
    from uadbench.runner.suites.suite_run import SuiteRun


ENDED = ("done", "failed", "skipped")


def bench(
    suite: Annotated[
        str,
        typer.Argument(help="Suite by name (see: uadbench list suites), or a file.", autocompletion=complete.suites),
    ],
    executor: Annotated[str, typer.Option(help="local, ray or slurm.")] = "local",
    workers: Annotated[
        int | None,
        typer.Option(help="Workers (default for local: one per GPU, otherwise one).", min=1, show_default=False),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the jobs, which are stored, and the estimated time.")
    ] = False,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    compile_: Annotated[
        str, typer.Option("--compile", help="auto, on or off: networks through torch.compile.")
    ] = "auto",
    isolated: Annotated[
        bool, typer.Option("--isolated", help="Fit and predict in processes that see only images and body masks.")
    ] = False,
    option: Annotated[
        list[str] | None, typer.Option("--option", help="Executor option key=value, e.g. partition=gpu.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Parent folder of the runs.")] = Path("runs"),
    records: Annotated[Path, typer.Option(help="Where records are exported.")] = Path("leaderboard/records"),
) -> None:
    """Runs every job of a suite that is not stored yet; may be stopped and called again at any time."""
    from uadbench.cli.arguments import check_compile, check_device, check_out
    from uadbench.core.config import parse_overrides
    from uadbench.runner.suites.executors import make_executor
    from uadbench.runner.suites.suite import load_suite

    check_device(device)
    compiling = check_compile(compile_)
    check_out(out)
    content = load_suite(_suite_file(suite))
    place = make_executor(executor, workers, device, parse_overrides(option or []))
    with progress_bar("phantom") as progress:
        from uadbench.runner.suites.suite_run import SuiteRun

        run = SuiteRun(content, out, records, progress)
    costs = _costs(run)
    if dry_run:
        _print_jobs(run, costs, place.workers)
        return
    with _interrupts() as asked:
        rows = _watch(run, run.run(place, device, compiling, isolated=isolated), costs, asked)
    counts = Counter(row.state for row in rows)
    to_stdout().out(_summary(rows), highlight=False)
    if counts["failed"]:
        raise JobFailed(f"{counts['failed']} jobs failed; the others are stored. Repeat the command to retry them.")


def _suite_file(suite: str) -> Path:
    """Returns the file of a suite, given as a path or as a name in experiments/suites.

    Raises:
        UnknownName: If it is neither a file nor a name.
    """
    from uadbench.core.experiments import experiment_file, experiment_names

    if Path(suite).suffix or Path(suite).is_file() or "/" in suite:
        return Path(suite)
    if suite not in experiment_names("suites"):
        raise UnknownName("suite", suite, experiment_names("suites"))
    return experiment_file("suites", suite)


@contextmanager
def _interrupts() -> Generator[list[int]]:
    """Yields the list of Ctrl-C so far: one that arrives inside a finaliser raises nothing but must not be lost."""
    asked: list[int] = []

    def interrupt(number: int, _frame: FrameType | None) -> None:
        asked.append(number)
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, interrupt)
    try:
        yield asked
    finally:
        signal.signal(signal.SIGINT, before)


def _watch(run: SuiteRun, states: Generator[list[JobRow]], costs: Costs, asked: list[int]) -> list[JobRow]:
    """Prints a line when a job ends, above a live table of running jobs; returns the finished jobs."""
    from rich.live import Live

    told: set[str] = set()
    rows: list[JobRow] = []
    with closing(states), Live(console=to_stderr(), refresh_per_second=2, transient=True) as live:
        for rows in states:
            if asked:
                raise KeyboardInterrupt
            for row in rows:
                if row.state in ENDED and row.id not in told:
                    told.add(row.id)
                    costs.add_table([row], run.by_id)
                    to_stdout().out(_line(run.by_id[row.id], _state(row), row.reason), highlight=False)
            live.update(_table(run, rows, costs))
    return rows


def _table(run: SuiteRun, rows: list[JobRow], costs: Costs) -> RenderableType:
    """The running jobs, and below them the progress of the suite."""
    from rich.table import Table

    table = Table(caption=_summary(rows) + _time_left(run, rows, costs), caption_justify="left")
    for name in ("worker", "job", "data", "method", "seed", "state", "time"):
        table.add_column(name, overflow="fold")
    for row in rows:
        if row.state in ("claimed", "running"):
            job = run.by_id[row.id].row
            state = row.state if row.attempts < 2 else f"{row.state}, attempt {row.attempts}"
            seconds = f"{max(0.0, time.time() - row.changed):.0f} s"
            table.add_row((row.owner or "")[:4], row.id, job.data, job.label, str(job.seed), state, seconds)
    return table


def _time_left(run: SuiteRun, rows: list[JobRow], costs: Costs) -> str:
    busy = [row for row in rows if row.state in ("claimed", "running")]
    waiting = [run.by_id[row.id] for row in rows if row.state in ("claimed", "running", "queued")]
    left = costs.estimate(waiting)
    if not waiting or left.unknown == len(waiting):
        return ""
    return f"; about {_duration(left.seconds / max(1, len(busy)))} left"


def _print_jobs(run: SuiteRun, costs: Costs, workers: int) -> None:
    table = run.table()
    known = {row.id: row for row in table.rows()} if table else {}
    if table is not None:
        table.close()
    to_do: list[PlannedRow] = []
    stored = skipped = 0
    for planned in run.planned:
        before = known.get(planned.id)
        if planned.plan is None:
            skipped += 1
            to_stdout().out(_line(planned, "skipped", planned.reason), highlight=False)
        elif run.stored(planned) is not None:
            stored += 1
            to_stdout().out(_line(planned, "stored", ""), highlight=False)
        else:
            to_do.append(planned)
            seconds = costs.of(planned)
            took = "no measurement" if seconds is None else f"about {_duration(seconds)}"
            if before is not None and before.state in ("claimed", "running"):
                took = f"{before.state}, {took}"
            elif before is not None and before.state == "failed":
                took = f"{took}; failed before: {before.reason}"
            to_stdout().out(_line(planned, "to do", f"({took})"), highlight=False)
    left = costs.estimate(to_do)
    text = f"{len(run.planned)} jobs: {stored} stored, {len(to_do)} to do, {skipped} skipped."
    if len(to_do) > left.unknown:
        text += f" About {_duration(left.seconds / workers)} with {workers} worker{'s' if workers > 1 else ''}"
        text += f", plus {left.unknown} jobs without a measurement of a similar job." if left.unknown else "."
    elif to_do:
        text += " No similar job has been measured yet."
    to_stdout().out(text, highlight=False)


def _costs(run: SuiteRun) -> Costs:
    from uadbench.records.stored import stored_records
    from uadbench.runner.suites.estimate import Costs

    costs = Costs()
    costs.add_records(stored_records([run.root, run.records]))
    table = run.table()
    if table is not None:
        costs.add_table(table.rows(), run.by_id)
        table.close()
    return costs


def _state(row: JobRow) -> str:
    return "stored" if row.state == "done" and row.attempts == 0 else row.state


def _line(planned: PlannedRow, state: str, reason: str) -> str:
    row = planned.row
    return f"{planned.id} {row.data} {row.label} seed {row.seed}: {state} {reason}".strip()


def _summary(rows: list[JobRow]) -> str:
    counts = Counter(row.state for row in rows)
    return f"{len(rows)} jobs: " + ", ".join(f"{counts[state]} {state}" for state in counts)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s" if minutes else f"{rest} s"
