"""``uadbench import``: a checkpoint of a method's published code as a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from uadbench.cli.terminal import complete
from uadbench.cli.terminal.console import progress_bar, to_stderr, to_stdout
from uadbench.core.errors import DataError


def import_run(
    method: Annotated[
        str,
        typer.Option(
            help="Method of the weights: synomaly, ddpm, anoddpm or autoddpm.", autocompletion=complete.methods
        ),
    ],
    checkpoint: Annotated[
        Path,
        typer.Option(
            help="Checkpoint of the method's public code, or of guided diffusion without scale-shift norm (.pt, .pth)."
        ),
    ],
    dataset: Annotated[
        str, typer.Option(help="Dataset name (see: uadbench list datasets).", autocompletion=complete.datasets)
    ],
    source: Annotated[str, typer.Option(help="'phantom' or a folder written by uadbench prepare.")] = "phantom",
    protocol: Annotated[
        str, typer.Option(help="Scoring protocol (see: uadbench list protocols).", autocompletion=complete.protocols)
    ] = "strict-v1",
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="Config value key=value, e.g. image_size=256.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the inference noise.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    out: Annotated[Path, typer.Option(help="Parent folder of the run folder ID/.")] = Path("runs"),
    fresh: Annotated[bool, typer.Option("--fresh", help="Repeat a run even if it is stored.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print only the record, to stdout.")] = False,
) -> None:
    """Imports trained weights without running code in the file, then predicts and scores."""
    from uadbench.cli.arguments import check_arguments
    from uadbench.core.config import parse_overrides

    overrides = parse_overrides(set_ or [])
    check_arguments(
        method=method,
        datasets=[dataset],
        preset="paper",
        seed=seed,
        device=device,
        protocol=protocol,
        overrides=overrides,
        sources=[source],
        out=out,
    )
    if not checkpoint.is_file():
        raise DataError(f"{checkpoint} is not a file.", "Check --checkpoint.")
    from uadbench.runner.execution.device import pick_device
    from uadbench.runner.execution.import_run import import_run
    from uadbench.runner.planning.datasets import open_source

    pick_device(device)
    with progress_bar("phantom") as progress:
        store = open_source(dataset, source, progress)
    record, folder = import_run(
        checkpoint,
        method=method,
        store=store,
        root=out,
        protocol=protocol,
        overrides=overrides,
        seed=seed,
        device=device,
        fresh=fresh,
        console=to_stderr(),
    )
    if json:
        to_stdout().out(record.model_dump_json(indent=1), highlight=False)
        return
    from uadbench.cli.terminal.table import print_record

    print_record(to_stdout(), record, [], folder)
