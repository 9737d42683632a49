"""``uadbench evaluate``, ``verify`` and ``report``: what is done with stored results."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from uadbench.cli.console import progress_bar, to_stdout
from uadbench.core.errors import JobFailed


def evaluate(
    run: Annotated[Path, typer.Option(help="Folder of a run.")],
    protocol: Annotated[str, typer.Option(help="Rules of scoring.")] = "strict-v1",
    source: Annotated[str | None, typer.Option(help="Where the run's data are, if not its phantom.")] = None,
    test_source: Annotated[str | None, typer.Option(help="Where its test data are, if another set.")] = None,
) -> None:
    """Scores the stored maps of a run again, without the model, under a protocol."""
    from uadbench.runner.verify import rescore

    with progress_bar("phantom") as progress:
        record, folder = rescore(run, protocol, source, test_source, progress)
    from uadbench.cli.table import print_record

    print_record(to_stdout(), record, [], folder)


def verify(
    run: Annotated[Path, typer.Argument(help="Folder of a run, or its record.json.")],
    rerun: Annotated[bool, typer.Option("--rerun", help="Predict again from the weights.")] = False,
    source: Annotated[str | None, typer.Option(help="Where the run's data are, if not its phantom.")] = None,
    test_source: Annotated[str | None, typer.Option(help="Where its test data are, if another set.")] = None,
) -> None:
    """Checks hashes and recomputes every metric from the raw maps."""
    from uadbench.runner.verify import verify_run

    with progress_bar("phantom") as progress:
        result = verify_run(run if run.is_dir() else run.parent, source, test_source, progress, rerun=rerun)
    for problem in result.problems:
        to_stdout().print(problem, style="red", markup=False, highlight=False)
    if result.problems:
        raise JobFailed(f"{run} does not verify: {len(result.problems)} problems.")
    folder = run if run.is_dir() else run.parent
    # Beside the record, outside its hash: how far the row is verified may change without the row.
    (folder / "verification.json").write_text(json.dumps({"level": result.level}))
    to_stdout().print(f"{run}: verified ({result.level}).", highlight=False, markup=False)


def report(
    records: Annotated[Path, typer.Option(help="Folder of records.")] = Path("leaderboard/records"),
    runs: Annotated[Path | None, typer.Option(help="Folder of runs, for the case viewer.")] = None,
    include_images: Annotated[bool, typer.Option("--include-images", help="Show images of real patients.")] = False,
    out: Annotated[Path, typer.Option(help="Folder that gets leaderboard/ and site/.")] = Path(),
) -> None:
    """Writes the leaderboard from records alone."""
    from uadbench.report import build_report

    for file in build_report(records, runs, out, include_images=include_images):
        to_stdout().out(str(file), highlight=False)
