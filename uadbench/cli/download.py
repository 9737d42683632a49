"""``uadbench download``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from uadbench.cli.terminal.console import progress_bar, to_stdout
from uadbench.core.errors import DataError, UserError

if TYPE_CHECKING:
    from uadbench.data.download.sources import RawSource

ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz")


def download(
    dataset: Annotated[str, typer.Argument(help="Dataset name (see: uadbench list datasets).")],
    out: Annotated[Path, typer.Option(help="Folder for the raw files; use it as --source of prepare.")],
    what: Annotated[str | None, typer.Option(help="Source to download; without it the sources are listed.")] = None,
    accept_licence: Annotated[
        bool, typer.Option("--accept-licence", help="Accept the licence shown by the command.")
    ] = False,
) -> None:
    """Downloads raw data from its official address, or prints the manual steps and checks the folder."""
    from uadbench.core.catalog import DATASETS
    from uadbench.data.download.sources import choose, missing, sources_of
    from uadbench.data.download.transfer import fetch, unpack

    source = choose(dataset, sources_of(DATASETS.load(dataset)), what)
    _show(source)
    if source.files and not accept_licence:
        raise UserError(f"The licence of {source.name} is not accepted.", "Read it above, then add --accept-licence.")
    for file in source.files:
        with progress_bar("download") as progress:
            told = fetch(file, out, progress)
        _say(told)
        if file.name.endswith(ARCHIVES) and missing(source, out):
            _say(f"Unpacking {file.name}.")
            unpack(out / file.name, out)
    left = missing(source, out)
    if left:
        raise DataError(
            f"{source.name} is not complete in {out}: {'; '.join(left)}.",
            "Follow the steps above." if source.steps else f"See {source.page}.",
        )
    _say(f"{source.name} is in {out}. Next: uadbench prepare {dataset} --source {out} --out STORE")


def _show(source: RawSource) -> None:
    _say(f"{source.title}\nLicence: {source.licence}\nPage: {source.page}")
    for number, step in enumerate(source.steps, 1):
        _say(f"{number}. {step}")


def _say(text: str) -> None:
    to_stdout().print(text, highlight=False, markup=False, soft_wrap=True)
