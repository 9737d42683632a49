"""``uadbench new``: a working skeleton to start from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from uadbench.cli.terminal.console import to_stdout


def new(
    kind: Annotated[str, typer.Argument(help="'method' or 'dataset'.")],
    name: Annotated[str, typer.Argument(help="Its name: lower-case letters, digits and underscores.")],
    out: Annotated[
        Path | None,
        typer.Option(help="Create a plug-in package here (default: a folder in the current clone)."),
    ] = None,
) -> None:
    """Writes a complete method or dataset template that passes the conformance kit."""
    from uadbench.scaffold.write import make

    made = make(kind, name, out, Path.cwd())
    line = to_stdout().out
    for file in made.files:
        line(str(made.folder / file), highlight=False)
    line("Next:", highlight=False)
    if made.plugin:
        line(f"  pip install -e {made.folder}", highlight=False)
    line(f"  uadbench check {kind} {name}", highlight=False)
    data = "--dataset carotid_us --method" if kind == "method" else "--method intensity --dataset"
    line(f"  uadbench run {data} {name} --preset smoke", highlight=False)
