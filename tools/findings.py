"""Fills the tables of docs/findings.md from the committed records; part of ``make report``.

Usage: python tools/findings.py [--records leaderboard/records] [--page docs/findings.md]

A claim compares two rows on the same test patients: the difference in case AP, averaged over training seeds, with its
95 % bootstrap interval over patients. It is confirmed where the interval lies above 0, refuted where it lies below, and
otherwise open. Of each dataset, the newest version on which Synomaly has three seeds is read. Two rows are compared
over the seeds that both have.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from uadbench.core.errors import DataError
from uadbench.core.files import atomic_text
from uadbench.evaluation.protocol.headline import DICE
from uadbench.evaluation.statistics.intervals import Interval
from uadbench.records.read import Entry, read_entries
from uadbench.report.tables.matrix import modality
from uadbench.report.tables.patients import patient_bootstrap, patient_values
from uadbench.report.tables.tables import TIERS, TRIVIAL, is_ablation, tier_of

PROTOCOL = "strict-v1"
MIN_SEEDS = 3
ORDER = ("MRI", "CT", "US")
BEST_TRIVIAL, BEST_OTHER = "the best trivial baseline", "the best other method without lesion labels"
SUPERVISED = "unet[pretrained=false]"
BENCH = "uadbench bench"


@dataclass(frozen=True)
class Table:
    """The rows of one test set: finished records by label and preset, one per seed."""

    dataset: str
    source: str
    version: str
    rows: Mapping[tuple[str, str], list[Entry]]

    @property
    def name(self) -> str:
        """Modality and version of a phantom, name and source of other data."""
        if self.source == "phantom":
            return f"{modality(self.dataset)} (version {self.version})"
        return f"{self.dataset} ({self.source})"

    def best(self, wanted: Callable[[Entry], bool], preset: str) -> str:
        """Returns the label with the largest mean case AP among rows of at least three seeds, "" if there is none."""
        means = {
            label: _mean(entries)
            for (label, own), entries in self.rows.items()
            if own == preset and len(entries) >= MIN_SEEDS and wanted(entries[0])
        }
        return max(means, key=lambda label: means[label], default="")


@dataclass(frozen=True)
class Claim:
    """A sentence about two rows.

    Attributes:
        words: The sentence.
        first: Label and preset of the row that should be better.
        second: The row it is compared with; a label may be BEST_TRIVIAL or BEST_OTHER.
        command: Suite or command that makes the rows.
    """

    words: str
    first: tuple[str, str]
    second: tuple[str, str]
    command: str


def claim(words: str, first: str, second: str, suite: str, first_preset: str = "quick") -> Claim:
    """Returns a claim about rows of preset quick."""
    return Claim(words, (first, first_preset), (second, "quick"), f"`{BENCH} {suite}`")


CLAIMS = (
    claim("Synomaly beats the best trivial baseline", "synomaly", BEST_TRIVIAL, "quick"),
    claim("Synomaly beats every other method without lesion labels", "synomaly", BEST_OTHER, "quick"),
    claim("Synthetic anomalies beat Gaussian noise", "synomaly", "synomaly[noise=gaussian]", "ablation-noise"),
    claim(
        "Three stages beat one",
        "synomaly[adaptive=false]",
        "synomaly[stages=1,adaptive=false]",
        "ablation-stages",
    ),
    claim(
        "Five stages beat three",
        "synomaly[stages=5,adaptive=false]",
        "synomaly[adaptive=false]",
        "ablation-stages",
    ),
    claim("Label-free tuning beats the preset", "synomaly[tuned]", "synomaly", "tuned"),
    claim("A supervised U-Net of the same budget beats Synomaly", SUPERVISED, "synomaly", "quick"),
    claim(
        "A supervised U-Net of preset `standard` beats Synomaly", SUPERVISED, "synomaly", "unet-standard", "standard"
    ),
)
NOISE = ("synomaly[noise=gaussian]", *(f"synomaly[sigma={sigma}.0]" for sigma in (1, 3, 5, 7, 9, 11)), "synomaly")
STAGES = (
    *(f"synomaly[stages={n},adaptive=false]" for n in (1, 2)),
    "synomaly[adaptive=false]",
    *(f"synomaly[stages={n},adaptive=false]" for n in (4, 5)),
    "synomaly",
)


def main() -> None:
    """Rewrites the marked tables of the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=Path, default=Path("leaderboard/records"))
    parser.add_argument("--page", type=Path, default=Path("docs/findings.md"))
    asked = parser.parse_args()
    tables = read_tables(asked.records)
    phantoms = [table for table in tables if table.source == "phantom"]
    others = [table for table in tables if table.source != "phantom"]
    parts = {
        "claims": claims_table(phantoms),
        "kinds": kinds_table(phantoms),
        "noise": settings_table(NOISE, phantoms),
        "stages": settings_table(STAGES, phantoms),
        "real": claims_table(others) if others else "No records of real images yet: `uadbench bench real`.",
    }
    atomic_text(asked.page, filled(asked.page.read_text(encoding="utf-8"), parts))


def read_tables(records: Path) -> list[Table]:
    """Returns a table per dataset and source, of its newest version, MRI first.

    Raises:
        DataError: If a record cannot be read.
    """
    entries, refusals = read_entries([records])
    if refusals:
        raise DataError(f"{refusals[0].file}: {refusals[0].reason}")
    groups: dict[tuple[str, str, str], dict[tuple[str, str], list[Entry]]] = defaultdict(lambda: defaultdict(list))
    for it in entries:
        record = it.record
        if record.status == "done" and record.protocol.name == PROTOCOL:
            data = it.tested.name, it.tested.source, it.tested.version
            groups[data][record.method.label, record.method.preset].append(it)
    tables = [Table(*data, {label: _by_seed(group) for label, group in rows.items()}) for data, rows in groups.items()]
    shown: dict[tuple[str, str], Table] = {}
    for table in sorted(tables, key=_standing_of_version):
        shown[table.dataset, table.source] = table
    return sorted(shown.values(), key=lambda it: (*_place(it), it.dataset))


def claims_table(tables: Sequence[Table]) -> str:
    """Returns the claims, one line each: difference in case AP with its interval, and the verdict."""
    lines = _heads(["claim", *(table.name for table in tables), "rows from"])
    for each in CLAIMS:
        cells = [verdict(table, each) for table in tables]
        lines.append(_line([each.words, *cells, each.command]))
    return "\n".join(lines)


def verdict(table: Table, asked: Claim) -> str:
    """Returns what one dataset says about a claim."""
    first = table.rows.get(asked.first, [])
    label = asked.second[0]
    if label == BEST_TRIVIAL:
        label = table.best(lambda it: it.record.method.name in TRIVIAL, asked.second[1])
    elif label == BEST_OTHER:
        label = table.best(lambda it: _other(it, asked.first[0]), asked.second[1])
    second = table.rows.get((label, asked.second[1]), [])
    seeds = {it.record.seed for it in first} & {it.record.seed for it in second}
    pair = [patient_values("ap", [it for it in row if it.record.seed in seeds]) for row in (first, second)]
    if pair[0] is None or pair[1] is None or not pair[0].index.equals(pair[1].index):
        return "not run"
    gap = pair[0] - pair[1]
    found = patient_bootstrap(gap)
    against = f" over {label}" if label != asked.second[0] else ""
    return f"{_standing(found)}: {float(gap.mean()):+.3f}{_ends(found, signed=True)}{against}{_few(len(seeds))}"


def kinds_table(tables: Sequence[Table]) -> str:
    """Returns the case AP by kind of lesion of Synomaly, the best other method and the best trivial baseline."""
    lines = _heads(["lesions (patients)", "Synomaly", "best other method", "best trivial baseline"])
    for table in tables:
        labels = [
            "synomaly",
            table.best(lambda it: _other(it, "synomaly"), "quick"),
            table.best(lambda it: it.record.method.name in TRIVIAL, "quick"),
        ]
        groups = [table.rows.get((label, "quick"), []) for label in labels]
        for kind, patients in _kinds(groups[0]):
            cells = [_of_kind(group, kind) for group in groups]
            told = [cells[0], *(f"{cell} ({label})" for cell, label in zip(cells[1:], labels[1:], strict=True))]
            lines.append(_line([f"{table.name}: {kind} ({patients})", *told]))
    return "\n".join(lines)


def settings_table(labels: Iterable[str], tables: Sequence[Table]) -> str:
    """Returns the case AP and Dice of settings of one method, in preset quick."""
    heads = [f"{table.name}, {what}" for table in tables for what in ("case AP", "Dice")]
    lines = _heads(["setting", *heads])
    for label in labels:
        cells: list[str] = []
        for table in tables:
            entries = table.rows.get((label, "quick"), [])
            cells += [_number(entries, "ap"), _number(entries, DICE)]
        if any(cell != "–" for cell in cells):
            lines.append(_line([f"`{label}`", *cells]))
    return "\n".join(lines)


def filled(page: str, parts: Mapping[str, str]) -> str:
    """Returns the page with each part between its markers.

    Raises:
        DataError: If the page lacks the markers of a part.
    """
    for name, text in parts.items():
        begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
        head, found, rest = page.partition(begin)
        _, closed, tail = rest.partition(end)
        if not found or not closed:
            raise DataError(f"The page has no markers {begin} and {end}.", "Add them where the table belongs.")
        page = f"{head}{begin}\n\n{text.strip()}\n\n{end}{tail}"
    return page


def _other(entry: Entry, label: str) -> bool:
    """Whether a row is another method without lesion labels, neither trivial nor an ablation nor tuned."""
    method = entry.record.method
    free = tier_of(entry.record) == TIERS[0] and method.name not in TRIVIAL
    return free and method.label != label and not is_ablation(entry.record) and "tuned" not in method.label


def _by_seed(entries: Iterable[Entry]) -> list[Entry]:
    """Returns the entries of the newest version of the method, by seed."""
    held = list(entries)
    newest = max(int(it.record.method.version) for it in held)
    return sorted((it for it in held if int(it.record.method.version) == newest), key=lambda it: it.record.seed)


def _kinds(entries: Sequence[Entry]) -> list[tuple[str, int]]:
    if not entries or entries[0].cases is None:
        return []
    cases = entries[0].cases
    lesion = cases[cases["lesion"].astype(bool)]
    return [(str(kind), int(group["patient"].nunique())) for kind, group in lesion.groupby("kind")]


def _of_kind(entries: Sequence[Entry], kind: str) -> str:
    means = [
        float(it.cases.loc[it.cases["lesion"].astype(bool) & (it.cases["kind"] == kind), "ap"].mean())
        for it in entries
        if it.cases is not None
    ]
    return f"{sum(means) / len(means):.3f}" if means else "–"


def _number(entries: Sequence[Entry], column: str) -> str:
    values = patient_values(column, entries)
    if values is None:
        return "–"
    return f"{float(values.mean()):.3f}{_ends(patient_bootstrap(values))}{_few(len(entries))}"


def _few(seeds: int) -> str:
    """Returns a remark on fewer than three seeds, "" otherwise."""
    return "" if seeds >= MIN_SEEDS else f", {seeds} seed{'s' if seeds > 1 else ''}"


def _standing_of_version(table: Table) -> tuple[bool, int]:
    return len(table.rows.get(("synomaly", "quick"), [])) >= MIN_SEEDS, int(table.version)


def _mean(entries: Sequence[Entry]) -> float:
    values = patient_values("ap", entries)
    return 0.0 if values is None else float(values.mean())


def _standing(found: Interval) -> str:
    if found.low is None or found.high is None:
        return "too few patients"
    return "**confirmed**" if found.low > 0 else "**refuted**" if found.high < 0 else "open"


def _ends(found: Interval, *, signed: bool = False) -> str:
    if found.low is None or found.high is None:
        return ""
    form = "+.3f" if signed else ".3f"
    return f" ({found.low:{form}} to {found.high:{form}})"


def _place(table: Table) -> tuple[bool, int]:
    name = modality(table.dataset)
    return table.source != "phantom", ORDER.index(name) if name in ORDER else len(ORDER)


def _heads(cells: Sequence[str]) -> list[str]:
    return [_line(cells), "|" + "---|" * len(cells)]


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


if __name__ == "__main__":
    main()
