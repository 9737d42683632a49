"""``uadbench show``: all results of a stored run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from uadbench.cli.terminal.complete import runs as complete_runs
from uadbench.cli.terminal.console import to_stdout
from uadbench.core.errors import DataError


def show(
    run: Annotated[Path, typer.Argument(help="Folder of a run, or its id below --runs.", autocompletion=complete_runs)],
    runs: Annotated[Path, typer.Option(help="Parent folder of the runs.")] = Path("runs"),
) -> None:
    """Prints all metrics of a run, the best stored trivial baseline, gaps and post-processing."""
    from uadbench.cli.terminal.standing import beside
    from uadbench.cli.terminal.table import print_record
    from uadbench.core.record import Record
    from uadbench.report.tables.tables import TRIVIAL

    folder = run if run.is_dir() else runs / run
    file = folder / "record.json"
    if not file.is_file():
        raise DataError(f"{run} is not a finished run.", "Give the folder runs/ID, or its ID.")
    try:
        record = Record.model_validate_json(file.read_bytes())
    except ValueError as error:
        raise DataError(f"{file} cannot be read.", "Run again with --fresh.") from error
    others = [row for row in beside(record, [folder.parent]) if row.method.name in TRIVIAL]
    print_record(to_stdout(), record, [row for row in others if row.method.name != record.method.name], folder)
