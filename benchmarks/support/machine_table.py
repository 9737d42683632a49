"""A column per kind of machine in docs/explanation/performance.md, from benchmarks/machines.json.

``python -m benchmarks.pairs --write-docs`` measures, stores this machine's column and writes the table; ``python -m
benchmarks.support.machine_table`` writes the table from what is stored. No number of it is copied by hand.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from uadbench.core.files import between_markers

MACHINES = Path("benchmarks/machines.json")
PAGE = Path("docs/explanation/performance.md")
BEGIN, END = "<!-- machines: begin -->", "<!-- machines: end -->"
KINDS = (("amx_bf16", "AMX bf16"), ("avx512_bf16", "AVX-512 bf16"), ("avx512f", "AVX-512"), ("avx2", "AVX2"))
WAYS = ("published", "fp32", "bf16", "picked")

Stored = dict[str, dict[str, Any]]


class SharedCores(Exception):
    """Raised for rows that were measured while other work was waiting."""


def kind_of(machine: str) -> str:
    """Returns the best instruction set of a machine, by the line that ``benchmarks.support.ratios.machine`` gives."""
    words = machine.replace(",", " ").split()
    return next((name for flag, name in KINDS if flag in words), "no AVX2")


def add(stored: Stored, machine: str, rows: Sequence[Mapping[str, Any]]) -> Stored:
    """Returns what is stored with the rows of a machine; works of its kind that were not measured again are kept.

    Raises:
        SharedCores: If a row has no ratio because the cores were shared.
    """
    if any(row["shared_cores"] for row in rows):
        raise SharedCores("The cores were shared with other work: nothing is stored. Measure again on idle cores.")
    kind = kind_of(machine)
    before = stored.get(kind, {})
    # figures of two machines are not mixed in a column
    works = before.get("works", {}) if before.get("machine") == machine else {}
    new = {row["work"]: {key: row[key] for key in (*WAYS, "numerics", "ratio")} for row in rows}
    return {**stored, kind: {"machine": machine, "works": {**works, **new}}}


def table(stored: Stored) -> str:
    """Returns the Markdown: the ratios of all kinds beside each other, and the seconds of each."""
    if not stored:
        return "No machine has been measured on idle cores yet: `python -m benchmarks.pairs --write-docs`."
    kinds = [name for _, name in reversed(KINDS) if name in stored]
    kinds += [name for name in stored if name not in kinds]
    works = list(dict.fromkeys(work for kind in kinds for work in stored[kind]["works"]))
    lines = [f"| ratio of the picked mode to as published | {' | '.join(kinds)} |", "|---" * (len(kinds) + 1) + "|"]
    for work in works:
        rows = [stored[kind]["works"].get(work) for kind in kinds]
        ratios = ["-" if row is None else f"{row['ratio']:.2f}" for row in rows]
        lines.append(f"| {work} | {' | '.join(ratios)} |")
    for kind in kinds:
        lines += ["", f"{kind} ({stored[kind]['machine']}), seconds:", ""]
        lines += ["| work | as published | fp32 | bf16 | picked | mode picked |", "|---" * 6 + "|"]
        for work, row in stored[kind]["works"].items():
            cells = ["-" if row[way] is None else f"{row[way]:.3g}" for way in WAYS]
            lines.append(f"| {work} | {' | '.join(cells)} | {row['numerics'].replace('_', ' ')} |")
    return "\n".join(lines)


def load() -> Stored:
    """Returns what is stored."""
    return json.loads(MACHINES.read_text()) if MACHINES.exists() else {}


def store(stored: Stored) -> None:
    """Writes what is stored."""
    MACHINES.write_text(json.dumps(stored, indent=1) + "\n")


def with_table(page: str, stored: Stored) -> str:
    """Returns the page with its table written anew.

    Raises:
        ValueError: If the page has lost its markers.
    """
    content = between_markers(page, BEGIN, END, table(stored))
    if content is None:
        raise ValueError(f"{PAGE} needs the lines {BEGIN} and {END}")
    return content


def main() -> None:
    """Writes the table into the page."""
    PAGE.write_text(with_table(PAGE.read_text(), load()))


if __name__ == "__main__":
    main()
