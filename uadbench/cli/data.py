"""``uadbench prepare``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from uadbench.cli.console import progress_bar, to_stdout
from uadbench.core.errors import DataError, UserError


def prepare(
    dataset: Annotated[str, typer.Argument(help="Dataset name (see: uadbench list datasets).")],
    source: Annotated[Path, typer.Option(help="Folder with the raw public layout.")],
    out: Annotated[Path, typer.Option(help="Folder of the store to make.")],
    recipe: Annotated[str, typer.Option(help="strict or paper.")] = "strict",
    workers: Annotated[int, typer.Option(help="Processes.", min=1)] = 1,
) -> None:
    """Converts raw files into a verified store."""
    from uadbench.core.catalog import DATASETS

    if recipe not in ("strict", "paper"):
        raise UserError(f"Unknown recipe '{recipe}'.", "Use strict or paper.")
    if not source.is_dir():
        raise DataError(f"{source} is not a folder.", "Check --source.")
    maker = DATASETS.load(dataset)()
    with progress_bar("prepare") as progress:
        found = maker.prepare(source, out, recipe, workers, progress)
    from collections import Counter

    from uadbench.data.store import Store

    store = Store(out)
    patients = Counter(item.role.value for item in {item.patient: item for item in store.items}.values())
    counts = Counter(item.role.value for item in store.items)
    to_stdout().print(f"Found: {found}", highlight=False, markup=False)
    for role, count in counts.items():
        to_stdout().print(f"  {role}: {count} images of {patients[role]} patients")
    to_stdout().print(f"Fingerprint {store.manifest.fingerprint[:16]}, stored in {out}", highlight=False, markup=False)
