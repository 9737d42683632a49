"""The rows that docs/findings.md compares: those of the leaderboard's matrices, by question, label and preset."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from uadbench.core.errors import DataError
from uadbench.evaluation.protocol.headline import STRICT
from uadbench.records.read import Entry, read_entries
from uadbench.report.tables.matrix import make_matrices, modality, version_order
from uadbench.report.tables.model import Arena, Row
from uadbench.report.tables.patients import patient_values
from uadbench.report.tables.tables import MIN_SEEDS, make_leaderboard


@dataclass(frozen=True)
class Table:
    """The rows of one question in every preset: finished records by label and preset, one per seed."""

    arena: Arena
    rows: Mapping[tuple[str, str], list[Entry]]

    @property
    def name(self) -> str:
        """Modality and version of a phantom, name and source of other data, and where it was trained if elsewhere."""
        tested, trained = self.arena.tested, self.arena.trained
        if tested.source == "phantom":
            return f"{modality(tested.name)} (version {tested.version})"
        told = "" if tested == trained else f", trained on {trained.name} ({trained.source})"
        return f"{tested.name} ({tested.source}{told})"

    def best(self, wanted: Callable[[Entry], bool], preset: str, seeds: int = MIN_SEEDS) -> str:
        """Returns the label with the largest mean case AP among rows of enough seeds, "" if there is none."""
        means = {
            label: mean_ap(entries)
            for (label, own), entries in self.rows.items()
            if own == preset and len(entries) >= seeds and wanted(entries[0])
        }
        return max(means, key=lambda label: means[label], default="")


def read_tables(records: Path) -> list[Table]:
    """Returns a table per column of the leaderboard's matrices of preset quick, in their order.

    Raises:
        DataError: If a record cannot be read.
    """
    entries, refusals = read_entries([records])
    if refusals:
        raise DataError(f"{refusals[0].file}: {refusals[0].reason}")
    known = {entry.record.id: entry for entry in entries}
    arenas = make_leaderboard(entries, refusals).arenas
    shown = [it for it in make_matrices(arenas, known) if it.rules[0] == STRICT and it.preset == "quick"]
    columns = [arena for matrix in shown if not matrix.version for arena in matrix.columns]
    return [Table(arena, _rows(arena, arenas, known)) for arena in columns]


def mean_ap(entries: Sequence[Entry]) -> float:
    """Returns the mean case AP over patients and seeds, 0 without case tables."""
    values = patient_values("ap", entries)
    return 0.0 if values is None else float(values.mean())


def _rows(arena: Arena, arenas: Sequence[Arena], known: Mapping[str, Entry]) -> dict[tuple[str, str], list[Entry]]:
    """Returns the rows of a question in all presets, of each label the newest version of its method."""
    same = [
        it for it in arenas if (it.tested, it.trained, it.protocol) == (arena.tested, arena.trained, arena.protocol)
    ]
    rows = [(it.preset, row) for it in same for table in it.tables for row in table.rows]
    rows.sort(key=lambda pair: version_order(pair[1].version))  # a newer one replaces an older one below
    return {(row.label, preset): _by_seed(row, known) for preset, row in rows}


def _by_seed(row: Row, known: Mapping[str, Entry]) -> list[Entry]:
    entries = [known[key] for key in row.records if known[key].record.status == "done"]
    return sorted(entries, key=lambda it: it.record.seed)
