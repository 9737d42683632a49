"""``uadbench bench``: a suite in one command."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from uadbench.cli.console import progress_bar, to_stderr, to_stdout
from uadbench.core.dataset import no_progress
from uadbench.core.errors import JobFailed, UserError


def bench(
    suite: Annotated[Path, typer.Argument(help="Suite file, e.g. experiments/suites/smoke.yaml.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the jobs and what is stored.")] = False,
    executor: Annotated[str, typer.Option(help="local.")] = "local",
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    out: Annotated[Path, typer.Option(help="Root of the runs.")] = Path("runs"),
    records: Annotated[Path, typer.Option(help="Where records are exported.")] = Path("leaderboard/records"),
) -> None:
    """Runs every job of a suite that is not stored yet; may be stopped and called again at any time."""
    from uadbench.runner.suite import load_suite, plans, run_suite, stored_state

    if executor != "local":
        raise UserError(f"Unknown executor '{executor}'.", "Use local.")
    content = load_suite(suite)
    with progress_bar("phantom") as progress:
        if dry_run:
            for plan in plans(content, progress):
                job = plan.job
                state = stored_state(plan, out)
                line = f"{job.id} {job.dataset.name} {job.method.label} seed {job.seed}: {state}"
                to_stdout().out(line, highlight=False)
            return
    failed = 0
    export = None if content.preset == "smoke" else records
    for plan, state, reason in run_suite(content, out, export, device, no_progress, to_stderr()):
        job = plan.job
        failed += state == "failed"
        line = f"{job.id} {job.dataset.name} {job.method.label} seed {job.seed}: {state} {reason}".strip()
        to_stdout().out(line, highlight=False)
    if failed:
        raise JobFailed(f"{failed} jobs failed; the others are stored.")
