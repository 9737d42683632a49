"""``uadbench evaluate``, ``verify`` and ``report``: commands on stored results."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from uadbench.cli.terminal import complete
from uadbench.cli.terminal.console import progress_bar, to_stdout
from uadbench.core.errors import JobFailed, UnknownName, UserError, harmless

if TYPE_CHECKING:
    from uadbench.core.record import Record


def evaluate(
    run: Annotated[Path, typer.Option(help="Folder of a run.")],
    protocol: Annotated[str, typer.Option(help="Scoring protocol.", autocompletion=complete.protocols)] = "strict-v1",
    source: Annotated[str | None, typer.Option(help="Prepared data of the run (default: its phantom).")] = None,
    test_source: Annotated[str | None, typer.Option(help="Prepared test data, if from another dataset.")] = None,
    in_place: Annotated[
        bool, typer.Option("--in-place", help="Update the run's own record with the current scorer.")
    ] = False,
) -> None:
    """Scores the stored maps of a run under a protocol, without the model."""
    from uadbench.cli.arguments import check_data
    from uadbench.records.layout import finished_run

    finished_run(run)
    check_data([], protocol, [place for place in (source, test_source) if place], None)
    from uadbench.runner.scoring.rescore import rescore

    with progress_bar("phantom") as progress:
        record, folder = rescore(run, protocol, source, test_source, progress, in_place=in_place)
    from uadbench.cli.terminal.table import print_record

    print_record(to_stdout(), record, [], folder)


def verify(
    run: Annotated[
        Path, typer.Argument(help="Folder of a run, its record.json, an exported record, a bundle, or a leaderboard.")
    ],
    rerun: Annotated[bool, typer.Option("--rerun", help="Predict again from the weights.")] = False,
    isolated: Annotated[
        bool,
        typer.Option(
            "--isolated", help="With --rerun: fit and predict in a process that can access only images and body masks."
        ),
    ] = False,
    fresh_phantom: Annotated[
        int | None,
        typer.Option(help="With --rerun: also fit and score on a phantom with this seed.", min=1, show_default=False),
    ] = None,
    source: Annotated[str | None, typer.Option(help="Prepared data of the run (default: its phantom).")] = None,
    test_source: Annotated[str | None, typer.Option(help="Prepared test data, if from another dataset.")] = None,
    runs: Annotated[Path, typer.Option(help="Parent folder of the runs, for an exported record.")] = Path("runs"),
    accept: Annotated[
        Path | None, typer.Option(help="For a valid bundle: add its record below this folder.", show_default=False)
    ] = None,
    base: Annotated[
        Path | None,
        typer.Option(help="For a leaderboard: the previous one; new records may claim only what they prove."),
    ] = None,
) -> None:
    """Checks hashes and recomputes every metric from the raw maps; for a leaderboard, from its tables."""
    from uadbench.cli.arguments import check_sources

    if not run.exists():
        raise UserError(f"{run} does not exist.", "Give the folder of a run, a record, a bundle or a leaderboard.")
    record = run.parent / f"{run.name.partition('.')[0]}.json"
    if run.suffix == ".json" and run.name.count(".") > 1 and record.is_file():
        raise UserError(f"{run} is a table of a record, not a record.", f"Give {record}.")
    if (isolated or fresh_phantom is not None) and not rerun:
        raise UserError("--isolated and --fresh-phantom require --rerun.", "Add --rerun.")
    check_sources(source, test_source)
    if (run / "records").is_dir():
        from uadbench.cli.submit import check_leaderboard

        check_leaderboard(run, base)
        return
    if run.suffix == ".zip":
        from uadbench.cli.submit import check_submission
        from uadbench.records.layout import Again

        again = Again(isolated, fresh_phantom) if rerun else None
        check_submission(run, accept, source, test_source, again)
        return
    from uadbench.records.layout import VERIFICATION, beside, finished_run, write_level

    exported = run.suffix == ".json" and run.name != "record.json"
    folder = run if run.is_dir() else runs / run.stem if exported else run.parent
    if not exported:
        finished_run(folder)
    from uadbench.verification.verify_run import compare_exported, note_level, verify_run

    problems = compare_exported(run, folder) if exported else []
    with progress_bar("phantom") as progress:
        result = verify_run(
            folder, source, test_source, progress, rerun=rerun, isolated=isolated, fresh_phantom=fresh_phantom
        )
    problems += result.problems
    for problem in problems:
        to_stdout().print(harmless(problem), style="red", markup=False, highlight=False, soft_wrap=True)
    if problems:
        _say_what_differs(folder)
        raise JobFailed(f"{run} does not verify: {len(problems)} problem{'s' if len(problems) > 1 else ''}.")
    level = note_level(folder, result.level, result.isolated)
    how = "" if result.isolated == "none" else f", isolated by {result.isolated}"
    if exported:
        write_level(beside(run, VERIFICATION), level, isolated=result.isolated)
    to_stdout().print(f"{run}: verified ({result.level}{how}).", highlight=False, markup=False, soft_wrap=True)


def _say_what_differs(folder: Path) -> None:
    """Lists possible reasons for a difference: code or environment (the data are the same, or could not be read)."""
    import torch

    from uadbench.core.numerics import PLAIN
    from uadbench.records.environment import differing, environment
    from uadbench.runner.storage.run_folder import RunFolder

    record = RunFolder(folder).record()
    if record is None:
        return
    here = environment(torch.device("cpu"), PLAIN)
    lines = differing(record.env, here) or ["Data, code and environment match the record, so its files were changed."]
    for line in lines:
        to_stdout().print(line, markup=False, highlight=False, soft_wrap=True)


def report(
    records: Annotated[Path, typer.Option(help="Folder of records.")] = Path("leaderboard/records"),
    runs: Annotated[Path | None, typer.Option(help="Folder of runs, for the case viewer.")] = None,
    include_images: Annotated[bool, typer.Option("--include-images", help="Show images of real patients.")] = False,
    out: Annotated[Path, typer.Option(help="Output folder for leaderboard/ and site/.")] = Path(),
    source: Annotated[list[str] | None, typer.Option(help="Prepared data for the case viewer, DATASET=FOLDER.")] = None,
    published: Annotated[
        Path | None, typer.Option(help="File of published numbers (default: published.yaml next to the records).")
    ] = None,
    open_: Annotated[
        bool, typer.Option("--open", help="Serve the site locally and open it in a browser, until Ctrl-C.")
    ] = False,
) -> None:
    """Writes the leaderboard and the site from records; stored runs add the case viewer and the gallery."""
    from uadbench.cli.arguments import check_source
    from uadbench.core.catalog import DATASETS
    from uadbench.report import build_report

    sources: dict[str, Path] = {}
    for pair in source or []:
        name, sign, folder = pair.partition("=")
        if not sign:
            raise UserError(f"--source {pair!r} is not of the form DATASET=FOLDER.")
        if name not in DATASETS.names():
            raise UnknownName("dataset of --source", name, DATASETS.names())
        check_source(folder)
        sources[name] = Path(folder)
    beside = records.parent / "published.yaml"
    ledger = published or (beside if beside.is_file() else None)
    opener = None
    with progress_bar("phantom") as progress:
        if runs is not None:
            from uadbench.runner.storage.open_run import RunOpener  # imports torch, which is not needed for records

            opener = RunOpener(sources, progress)
        files = build_report(
            records, runs, out, include_images=include_images, opener=opener, published=ledger, vouch=_vouch
        )
    for folder in ("leaderboard", "site"):
        written = sum((out / folder) in file.parents for file in files)
        to_stdout().out(f"{out / folder}: {written} files", highlight=False)
    page = out / "site" / "index.html"
    to_stdout().out(f"Open {page.resolve()}", highlight=False)
    if open_:
        from uadbench.cli.terminal.serve import serve

        serve(page.parent)


def _vouch(record: Record) -> tuple[list[str], str]:
    """Compares a record with the registry; imports methods only if there is a record."""
    from uadbench.verification.claims import vouch

    return vouch(record)
