"""``uadbench submit``, and ``uadbench verify`` for bundles and leaderboards."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from zipfile import is_zipfile

import typer

from uadbench.cli.arguments import check_sources
from uadbench.cli.terminal.console import progress_bar, to_stdout
from uadbench.core.errors import DataError, JobFailed, harmless

if TYPE_CHECKING:
    from uadbench.records.layout import Again


def submit(
    run: Annotated[Path, typer.Argument(help="Folder of a run.")],
    out: Annotated[Path | None, typer.Option(help="Bundle to write (default: ID.zip).")] = None,
    maps: Annotated[bool, typer.Option("--maps/--hashes-only", help="Include raw maps, or only their hashes.")] = True,
    weights: Annotated[bool, typer.Option("--weights", help="Include the weights, not only their hash.")] = False,
    source: Annotated[str | None, typer.Option(help="Prepared data of the run (default: its phantom).")] = None,
    test_source: Annotated[str | None, typer.Option(help="Prepared test data, if from another dataset.")] = None,
) -> None:
    """Verifies a run and writes it as one file for the leaderboard."""
    from uadbench.records.layout import finished_run

    finished_run(run)
    check_sources(source, test_source)
    from uadbench.verification.bundle import write_bundle

    target = out or Path(f"{run.resolve().name}.zip")
    with progress_bar("verify") as progress:
        record = write_bundle(run, target, source, test_source, progress, maps=maps, weights=weights)
    size = f"{target.stat().st_size / 1e6:.1f} MB"
    to_stdout().out(f"{target}: {record.method.label}, seed {record.seed}, {size}, verified.", highlight=False)
    if record.env.dirty:
        to_stdout().out("The code had uncommitted changes, as the record states.", highlight=False)


def check_submission(
    bundle: Path, accept: Path | None, source: str | None, test_source: str | None, again: Again | None = None
) -> None:
    """Verifies a bundle and, if it is valid, adds its record to the folder ``accept``.

    Args:
        bundle: The file.
        accept: Root of the records; None for nowhere.
        source: Prepared data, None for the phantom.
        test_source: Prepared test data.
        again: How its method is run again; None for not at all.

    Raises:
        DataError: If it is not a bundle.
        JobFailed: If it does not verify.
    """
    if not (bundle.is_file() and is_zipfile(bundle)):
        raise DataError(f"{bundle} is not a readable bundle.", "Write it again.")
    from uadbench.verification.check_bundle import check_bundle

    with progress_bar("verify") as progress:
        result = check_bundle(bundle, source, test_source, progress, records=accept, again=again)
    problems = result.problems
    for problem in problems:
        to_stdout().out(harmless(problem), style="red", highlight=False)
    if problems:
        raise JobFailed(f"{bundle} does not verify: {len(problems)} problem{'s' if len(problems) > 1 else ''}.")
    if result.level == "reported":
        words = "reported: hashes and tables agree; no metric was recomputed from maps"
    else:
        how = "" if result.isolated == "none" else f", isolated by {result.isolated}"
        words = f"verified ({result.level}{how})"
    to_stdout().out(f"{bundle}: {words}.", highlight=False)
    if result.exported is not None:
        to_stdout().out(f"Its record is {result.exported}", highlight=False)


def check_leaderboard(folder: Path, base: Path | None) -> None:
    """Checks all submissions to a leaderboard, without running any of their code.

    Raises:
        DataError: If it is not a leaderboard.
        JobFailed: If a check fails.
    """
    from uadbench.verification.check_leaderboard import LEVELS, audit

    with progress_bar("verify") as progress:
        found = audit(folder, progress=progress, base=base)
    for problem in found.problems:
        to_stdout().out(problem, style="red", highlight=False)
    if found.problems:
        count = f"{len(found.problems)} problem{'s' if len(found.problems) > 1 else ''}"
        raise JobFailed(f"{folder} does not verify: {count}.")
    claimed = ", ".join(f"{found.levels[level]} {level}" for level in LEVELS if found.levels[level])
    to_stdout().out(f"{folder}: {found.levels.total()} records hold ({claimed}).", highlight=False)
    for name, level in found.bundles.items():
        to_stdout().out(f"submissions/{name}.zip: {level}", highlight=False)
