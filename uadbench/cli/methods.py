"""``uadbench list`` and ``uadbench check``."""

from __future__ import annotations

import json as json_
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from uadbench.cli.terminal.console import to_stderr, to_stdout
from uadbench.core.errors import JobFailed, UnknownName

if TYPE_CHECKING:
    from uadbench.testing.results import CheckResult


class Kind(StrEnum):
    """The kinds of things that can be listed."""

    METHODS = "methods"
    DATASETS = "datasets"
    PROTOCOLS = "protocols"
    SUITES = "suites"


def list_names(
    kind: Annotated[Kind | None, typer.Argument(help="What to list (default: everything).")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Lists methods, datasets, protocols or suites, one line each, without importing them."""
    kinds = [kind] if kind else list(Kind)
    if json:
        names = {each.value: _names(each) for each in kinds}
        to_stdout().out(json_.dumps(names if kind is None else names[kind.value]), highlight=False)
        return
    from rich.table import Table

    from uadbench.cli.terminal.listing import described

    stdout = to_stdout()
    table = Table.grid(padding=(0, 2))
    for each in kinds:
        found = described(each.value, _names(each))
        if not stdout.is_terminal:  # one line per name, however long, for other programs
            for name, about in found:
                typer.echo(f"{name}\t{about}")
            continue
        if kind is None:
            table.add_row(f"[bold]{each.value}[/bold]")
        for name, about in found:
            table.add_row(escape(name), escape(about))
    if stdout.is_terminal:
        stdout.print(table)


def check(
    kind: Annotated[str, typer.Argument(help="'method' or 'dataset'.")],
    name: Annotated[str, typer.Argument(help="Registry name.")],
    source: Annotated[str, typer.Option(help="For datasets: 'phantom' or a prepared folder.")] = "phantom",
    isolated: Annotated[
        bool, typer.Option(help="For methods: check in a separate process without data or network, or in this process.")
    ] = True,
) -> None:
    """Runs the conformance kit on a method or dataset; a method is isolated as in run --isolated."""
    if kind == "method":
        results = _check_method(name, isolated=isolated)
    elif kind == "dataset":
        from uadbench.cli.terminal.console import progress_bar
        from uadbench.core.catalog import DATASETS
        from uadbench.runner.planning.datasets import open_source
        from uadbench.testing.dataset_checks import check_dataset

        with progress_bar("phantom") as progress:
            store = open_source(name, source, progress)
        results = check_dataset(store.path, DATASETS.load(name).card.patients)
    else:
        raise UnknownName("kind", kind, ["method", "dataset"])
    for result in results:
        mark = "[green]passed[/green]" if result.passed else "[red]FAILED[/red]"
        to_stdout().print(f"{mark} {result.name}", end=" ")
        to_stdout().out(result.detail, highlight=False)
    failed = [result.name for result in results if not result.passed]
    if failed:
        raise JobFailed(f"{len(failed)} of {len(results)} checks failed: {', '.join(failed)}.")


def _check_method(name: str, *, isolated: bool) -> list[CheckResult]:
    if not isolated:
        from uadbench.core.catalog import METHODS
        from uadbench.testing.method_checks import check_method

        return check_method(METHODS.load(name))
    from uadbench.runner.execution.isolated_check import check_isolated

    results, why = check_isolated(name)
    if why:
        to_stderr().out(f"Checked in a separate process, but not in a namespace: {why}.", highlight=False)
    return results


def _names(kind: Kind) -> list[str]:
    if kind in (Kind.METHODS, Kind.DATASETS):
        from uadbench.core.catalog import DATASETS, METHODS

        return (METHODS if kind == Kind.METHODS else DATASETS).names()
    from uadbench.core.experiments import experiment_names

    return experiment_names(kind.value)
