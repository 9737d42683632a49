"""Records in folders of runs and of exported records, read without checks: for estimates and comparisons at hand."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from uadbench.core.record import Record


def stored_records(
    roots: Iterable[Path], *, protocol: str = "*", dataset: str = "*", method: str = "*"
) -> Iterator[Record]:
    """Yields every record once: those of runs (``ID/record.json``), then exported ones, root by root.

    Unreadable records are skipped; the report lists them. Runs are not filtered, because their folders do not tell.

    Args:
        roots: Roots of runs and of exported records.
        protocol: Protocol whose exported records are read, "*" for all.
        dataset: Test dataset, likewise.
        method: Method, likewise.
    """
    seen = set[str]()
    for root in roots:
        for file in sorted([*root.glob("*/record.json"), *root.glob(f"{protocol}/{dataset}/{method}/*.json")]):
            if "." in file.stem:
                continue  # a table of a record
            try:
                record = Record.model_validate_json(file.read_bytes())
            except (OSError, ValueError):
                continue
            if record.id not in seen:
                seen.add(record.id)
                yield record
