"""The leaderboard matrix: methods by mean rank, one column per dataset, one matrix per preset and source."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from uadbench.evaluation.protocol import headline
from uadbench.records.read import Entry, plain
from uadbench.records.words import row_words
from uadbench.report.tables.model import Arena, Row, Table
from uadbench.report.tables.patients import patient_bootstrap, patient_values
from uadbench.report.tables.tables import ABLATION, RANKING_KEY, TIERS

MODALITIES = {"mri": "MRI", "ct": "CT", "us": "US"}
"""Dataset names consist of organ and modality: brain_mri, liver_ct, carotid_us."""
SHOWN = ((headline.DICE, headline.DICE), ("pixel_auroc", "auroc"))
"""The metrics of a cell with their columns in ``cases.csv``."""
METHODS, FLOOR = "Learned without lesion labels", "Trivial baselines: the floor"
BLOCKS = {TIERS[1]: "Tuned on lesion labels", TIERS[2]: "Supervised reference: lesion masks in training"}
SOURCES, PRESETS = ("phantom", "semi-synthetic", "real"), ("quick", "standard", "paper", "smoke")

Mark = Literal["best", "tied", ""]


@dataclass(frozen=True)
class Cell:
    """A row on one dataset.

    Attributes:
        row: The row with all its numbers.
        marks: For each metric shown, whether it is the best of the column, or not distinguishable from the best.
    """

    row: Row
    marks: Mapping[str, Mark]

    @property
    def weak(self) -> bool:
        """Whether its case AP is not above that of the best trivial baseline."""
        return self.row.versus_trivial is not None and self.row.versus_trivial.beats is False


@dataclass(frozen=True)
class Line:
    """A method with its settings: its mean rank (None unless it is ranked on every dataset) and its cells."""

    label: str
    method: str
    mean_rank: float | None
    cells: list[Cell | None]

    @property
    def name(self) -> str:
        """Readable label, with "from scratch" for networks without pretrained weights."""
        return row_words(self.label)


@dataclass(frozen=True)
class Block:
    """Lines of one section."""

    title: str
    tier: str
    lines: list[Line]


@dataclass(frozen=True)
class Matrix:
    """Methods by datasets under the same rules, preset and source.

    Attributes:
        rules: Name, version and hash of the protocol.
        preset: Preset.
        source: phantom, semi-synthetic or real.
        cohort: Training data, if not the test data; "" otherwise.
        version: Dataset and version, for a version that has been replaced; "" otherwise.
        columns: One question per dataset.
        blocks: Methods first, then the floor, then rows with lesion labels.
    """

    rules: tuple[str, str, str]
    preset: str
    source: str
    cohort: str
    version: str
    columns: list[Arena]
    blocks: list[Block]

    @property
    def title(self) -> str:
        """The matrix in words, plain text."""
        told = [f"Preset {self.preset}", self.source, f"trained on {self.cohort}" if self.cohort else "", self.version]
        return ", ".join(filter(None, told))

    @property
    def where(self) -> str:
        """The data in words, plain text: the title without the preset."""
        return self.title.partition(", ")[2]

    @property
    def seeds(self) -> list[str]:
        """Number of training seeds behind each column's rows, in words."""
        told: list[str] = []
        for i in range(len(self.columns)):
            counts = {len(cell.row.seeds) for line in self._lines if (cell := line.cells[i]) is not None}
            most = max(counts, default=0)
            fewer = f"{min(counts)} to " if len(counts) > 1 else ""
            told.append(f"{fewer}{most} seed{'' if most == 1 else 's'}")
        return told

    @property
    def mixed(self) -> dict[str, list[str]]:
        """Versions of the methods that have several in one line, by the line's name."""
        found = {line.name: {cell.row.version for cell in line.cells if cell is not None} for line in self._lines}
        return {name: sorted(versions, key=version_order) for name, versions in found.items() if len(versions) > 1}

    @property
    def _lines(self) -> list[Line]:
        return [line for block in self.blocks for line in block.lines]

    @property
    def ranked(self) -> int:
        """Number of cells with a ranked row."""
        return sum(cell is not None and cell.row.rank is not None for line in self._lines for cell in line.cells)


def make_matrices(arenas: Iterable[Arena], records: Mapping[str, Entry]) -> list[Matrix]:
    """Returns the matrices, those with the most ranked rows first, replaced versions of data last.

    Args:
        arenas: The questions of a leaderboard.
        records: Entries by id.
    """
    groups: dict[tuple[tuple[str, str, str], str, str, str], list[Arena]] = defaultdict(list)
    for arena in arenas:
        cohort = "" if arena.trained == arena.tested else f"{arena.trained.name} ({arena.trained.source})"
        rules = (arena.protocol.name, arena.protocol.version, arena.protocol.hash)
        groups[rules, arena.preset, arena.tested.source, cohort].append(arena)
    found: list[Matrix] = []
    for key, group in groups.items():
        datasets: dict[str, list[Arena]] = defaultdict(list)
        for arena in group:
            datasets[arena.tested.name].append(arena)
        columns = [_shown_version(versions) for versions in datasets.values()]
        found.append(_matrix(*key, "", columns, records))
        for arena in group:
            if arena not in columns:
                version = f"{arena.tested.name} version {arena.tested.version} ({arena.tested.fingerprint[:8]})"
                found.append(_matrix(*key, version, [arena], records))
    return sorted(found, key=_first)


def _first(matrix: Matrix) -> tuple[bool, int, int, int, str]:
    source, preset = _place(SOURCES, matrix.source), _place(PRESETS, matrix.preset)
    return bool(matrix.version), -matrix.ranked, source, preset, matrix.title


def modality(dataset: str) -> str:
    """Returns MRI, CT or US, or the dataset's name if its modality is unknown."""
    return MODALITIES.get(dataset.rpartition("_")[2], dataset)


def _place(order: Sequence[str], name: str) -> int:
    return order.index(name) if name in order else len(order)


def _matrix(
    rules: tuple[str, str, str],
    preset: str,
    source: str,
    cohort: str,
    version: str,
    arenas: list[Arena],
    records: Mapping[str, Entry],
) -> Matrix:
    order = list(MODALITIES.values())
    columns = sorted(arenas, key=lambda it: (_place(order, modality(it.tested.name)), it.tested.name))
    tiers = {tier: _lines(tier, columns, records) for tier in TIERS}
    free = tiers[TIERS[0]]
    trivial = {row.label for arena in columns for table in arena.tables for row in table.rows if row.trivial}
    blocks = [
        Block(METHODS, TIERS[0], [line for line in free if line.label not in trivial]),
        Block(FLOOR, TIERS[0], [line for line in free if line.label in trivial]),
        *(Block(title, tier, tiers[tier]) for tier, title in BLOCKS.items()),
    ]
    return Matrix(rules, preset, source, cohort, version, columns, [block for block in blocks if block.lines])


def _shown_version(arenas: list[Arena]) -> Arena:
    """Returns the newest version of a dataset on which every method is ranked that is ranked on any of them.

    If no version is complete, the one with the most ranked methods is used.
    """
    ranked = {arena.key: _ranked_methods(arena) for arena in arenas}
    everyone = set[str]().union(*ranked.values())

    def key(arena: Arena) -> tuple[bool, int, list[tuple[int, str]], str]:
        complete = ranked[arena.key] == everyone
        return complete, 0 if complete else len(ranked[arena.key]), version_order(arena.tested.version), arena.key

    return max(arenas, key=key)


def _ranked_methods(arena: Arena) -> set[str]:
    return {row.method for table in arena.tables for row in table.rows if row.rank is not None}


def version_order(text: str) -> list[tuple[int, str]]:
    """Returns a version as a key that sorts 10 after 9."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"[.\-]", text)]


def _lines(tier: str, columns: list[Arena], records: Mapping[str, Entry]) -> list[Line]:
    chosen = [_rows(table) for arena in columns for table in [_table(arena, tier)]]
    labels = list(dict.fromkeys(label for rows in chosen for label in rows))
    ranks = _mean_ranks(labels, chosen)
    # Bold is for rows comparable with most others: those without lesion labels.
    marks = [_marks(list(rows.values()), records) if tier == TIERS[0] else {} for rows in chosen]
    lines: list[Line] = []
    for label in labels:
        rows = [each.get(label) for each in chosen]
        cells = [
            None if row is None else Cell(row, {key: marks[i].get((label, key), "") for key, _ in SHOWN})
            for i, row in enumerate(rows)
        ]
        method = next(row.method for row in rows if row is not None)
        lines.append(Line(plain(label), method, ranks.get(label), cells))
    return sorted(lines, key=_order)


def _table(arena: Arena, tier: str) -> Table:
    return next((table for table in arena.tables if table.tier == tier), Table(tier=tier, rows=[]))


def _rows(table: Table) -> dict[str, Row]:
    """Returns one row per label, the newest version of its method; ablations are only on the page of their method."""
    found: dict[str, Row] = {}
    for row in table.rows:
        other = found.get(row.label)
        newer = other is None or (row.rank is not None, version_order(row.version)) > (
            other.rank is not None,
            version_order(other.version),
        )
        if row.unranked_because != ABLATION and newer:
            found[row.label] = row
    return found


def _mean_ranks(labels: list[str], chosen: list[dict[str, Row]]) -> dict[str, float]:
    """Returns mean ranks by case AP among the rows that are ranked on every dataset; never over incomplete rows."""
    values: dict[str, list[float]] = {}
    for label in labels:
        numbers = [rows[label].metrics[RANKING_KEY].value for rows in chosen if _is_ranked(rows.get(label))]
        known = [value for value in numbers if value is not None]
        if len(known) == len(chosen):
            values[label] = known
    table = np.array(list(values.values()), dtype=float).reshape(len(values), len(chosen))
    ranks = 1 + (table[None, :, :] > table[:, None, :]).sum(axis=1)
    return {label: float(ranks[i].mean()) for i, label in enumerate(values)}


def _is_ranked(row: Row | None) -> bool:
    return row is not None and row.rank is not None


def _order(line: Line) -> tuple[bool, float, int, float, str]:
    """Ranked everywhere first, by mean rank; then by the number of datasets and case AP."""
    values = [cell.row.metrics[RANKING_KEY].value or 0.0 for cell in line.cells if cell and _is_ranked(cell.row)]
    best = max(values, default=0.0)
    return line.mean_rank is None, line.mean_rank or 0.0, -len(values), -best, line.label


def _marks(rows: list[Row], records: Mapping[str, Entry]) -> dict[tuple[str, str], Mark]:
    """Marks the best ranked row of each metric, and those whose paired difference to it has an interval around 0."""
    found: dict[tuple[str, str], Mark] = {}
    for key, column in SHOWN:
        known = [
            (number.value, row)
            for row in rows
            if row.rank is not None and (number := row.metrics.get(key)) is not None and number.value is not None
        ]
        if not known:
            continue
        best = max(known, key=lambda pair: pair[0])[1]
        theirs = _values(best, column, records)
        for value, row in known:
            if value == best.metrics[key].value:
                found[row.label, key] = "best"
                continue
            ours = _values(row, column, records)
            if ours is None or theirs is None or not ours.index.equals(theirs.index):
                continue  # without tables of cases nothing was tested
            low = patient_bootstrap(theirs - ours).low
            if low is not None and low <= 0:
                found[row.label, key] = "tied"
    return found


def _values(row: Row, column: str, records: Mapping[str, Entry]) -> pd.Series[float] | None:
    return patient_values(column, [records[key] for key in row.records if records[key].record.status == "done"])
