"""``uadbench score``: scores the maps of an external system under the same protocol."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from uadbench.cli.terminal import complete
from uadbench.cli.terminal.console import progress_bar, to_stdout
from uadbench.core.errors import DataError, UnknownName

SUPERVISION = ("none", "healthy", "masks")
TUNING = ("none", "synthetic", "val", "test", "unknown")


def score(
    maps: Annotated[
        Path,
        typer.Option(help="Folder of maps (NPY, NIfTI, float TIFF and others): calib/ and test/, or test maps alone."),
    ],
    dataset: Annotated[
        str, typer.Option(help="Dataset name (see: uadbench list datasets).", autocompletion=complete.datasets)
    ],
    name: Annotated[str, typer.Option(help="Name of the system and of its row.")],
    source: Annotated[str, typer.Option(help="'phantom' or a folder written by uadbench prepare.")] = "phantom",
    protocol: Annotated[
        str, typer.Option(help="Scoring protocol (see: uadbench list protocols).", autocompletion=complete.protocols)
    ] = "strict-v1",
    version: Annotated[str, typer.Option(help="Version of the system.")] = "1",
    supervision: Annotated[str, typer.Option(help="Supervision of the training: none, healthy or masks.")] = "healthy",
    tuning_labels: Annotated[
        str, typer.Option(help="Labels used to choose settings: none, synthetic, val, test or unknown.")
    ] = "unknown",
    seed: Annotated[int, typer.Option(help="Training seed of these maps.")] = 0,
    out: Annotated[Path, typer.Option(help="Parent folder of the run folder ID/.")] = Path("runs"),
    fresh: Annotated[bool, typer.Option("--fresh", help="Replace an entry with this name, version and seed.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print only the record, to stdout.")] = False,
) -> None:
    """Scores maps of another system; the record states that they were reported."""
    for kind, value, known in (("supervision", supervision, SUPERVISION), ("tuning labels", tuning_labels, TUNING)):
        if value not in known:
            raise UnknownName(kind, value, known)
    from uadbench.cli.arguments import check_data
    from uadbench.core.job import check_seed, check_system_name

    check_seed(seed)
    check_system_name(name)
    if not maps.is_dir():
        raise DataError(f"{maps} is not a folder.", "Check --maps.")
    check_data([dataset], protocol, [source], out)
    from uadbench.evaluation.protocol.protocol import load_protocol
    from uadbench.runner.planning.datasets import open_source
    from uadbench.runner.scoring.external import Claim, score_external

    rules = load_protocol(protocol)
    with progress_bar("phantom") as progress:
        store = open_source(dataset, source, progress)
    claim = Claim(name, version, supervision, tuning_labels, seed)  # pyright: ignore[reportArgumentType] (checked above)
    record, folder = score_external(maps, claim, store, rules, out, fresh=fresh)
    if json:
        to_stdout().out(record.model_dump_json(indent=1), highlight=False)
        return
    from uadbench.cli.terminal.table import print_record

    print_record(to_stdout(), record, [], folder)
