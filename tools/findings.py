"""Fills the tables of docs/findings.md from the committed records; part of ``make report``.

Usage: python -m tools.findings [--records leaderboard/records] [--page docs/findings.md]

A claim compares two rows on the same test patients: the difference in case AP, averaged over training seeds, with its
95 % bootstrap interval over patients. It is confirmed where the interval lies above 0 and Wilcoxon's signed-rank test,
adjusted by Holm's method over all comparisons of the table, has p < 0.05; refuted where the interval lies below 0 and
the test agrees; and otherwise open. The questions are those of the leaderboard's matrices. Two rows are compared over
the seeds that both have.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from tools.findings_rows import Table, read_tables
from uadbench.core.errors import DataError
from uadbench.core.files import atomic_text, between_markers
from uadbench.evaluation.protocol.headline import DICE
from uadbench.evaluation.statistics.comparisons import Difference, holm, paired_difference
from uadbench.evaluation.statistics.intervals import Interval
from uadbench.records.read import Entry
from uadbench.report.tables.patients import patient_bootstrap, patient_values
from uadbench.report.tables.tables import MIN_SEEDS, TIERS, TRIVIAL, is_ablation, tier_of

BEST_TRIVIAL, BEST_OTHER = "the best trivial baseline", "the best other method without lesion labels"
BEST_SIGNED = "the best method with a signed residual"
SUPERVISED = "unet[pretrained=false]"
FLAIR = ("synomaly[sigma=3.0,threshold=175.0]", "synomaly[offset=0.5]")  # US, CT; published for MRI


@dataclass(frozen=True)
class Claim:
    """A sentence about two rows.

    Attributes:
        words: The sentence.
        first: Label of the row that should be better.
        second: Labels of the row it is compared with, of which each dataset has one, or one of the BEST.
        suite: The suite that makes the rows.
        preset: Preset of the first row; that of the second is quick.
    """

    words: str
    first: str
    second: str | tuple[str, ...]
    suite: str
    preset: str = "quick"


CLAIMS = (
    Claim("Synomaly beats the best trivial baseline", "synomaly", BEST_TRIVIAL, "quick"),
    Claim("Synomaly beats every other method without lesion labels", "synomaly", BEST_OTHER, "quick"),
    Claim("Synomaly beats every other method that is told the sign of lesions", "synomaly", BEST_SIGNED, "signed"),
    Claim("Synthetic anomalies beat Gaussian noise", "synomaly", "synomaly[noise=gaussian]", "ablation-noise"),
    Claim("Published values of a modality beat those of FLAIR", "synomaly", FLAIR, "ablation-noise"),
    Claim("Three stages beat one", "synomaly[adaptive=false]", "synomaly[stages=1,adaptive=false]", "ablation-stages"),
    Claim("Five stages beat three", "synomaly[stages=5,adaptive=false]", "synomaly[adaptive=false]", "ablation-stages"),
    Claim("Label-free tuning beats the preset", "synomaly[tuned]", "synomaly", "tuned"),
    Claim("A supervised U-Net of the same budget beats Synomaly", SUPERVISED, "synomaly", "quick"),
    Claim("A supervised U-Net of `standard` beats Synomaly", SUPERVISED, "synomaly", "unet-standard", "standard"),
)
SIGNED = tuple(
    Claim(f"`{name}[signed=true]` beats `{name}`", f"{name}[signed=true]", name, "signed")
    for name in ("mean_residual", "autoencoder", "vae", "dae", "ddpm", "anoddpm", "autoddpm")
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
    phantoms = [table for table in tables if table.arena.tested.source == "phantom"]
    others = [table for table in tables if table.arena.tested.source != "phantom"]
    parts = {
        "claims": claims_table(phantoms),
        "signs": claims_table(phantoms, SIGNED),
        "kinds": kinds_table(phantoms),
        "noise": settings_table(NOISE, phantoms),
        "stages": settings_table(STAGES, phantoms),
        "real": real_tables(others) if others else "No records of real images yet: `uadbench bench real`.",
    }
    atomic_text(asked.page, filled(asked.page.read_text(encoding="utf-8"), parts))


@dataclass(frozen=True)
class Answer:
    """What one dataset says about a claim: the paired difference to the row of a label, over some seeds."""

    difference: Difference
    against: str
    seeds: int

    def words(self, p_value: float | None) -> str:
        """Returns the verdict with the difference and its interval.

        Args:
            p_value: p value adjusted over the table; None with too few patients.
        """
        it = self.difference
        ends = _ends(Interval(it.low, it.high), signed=True)
        return f"{_standing(it, p_value)}: {it.value:+.3f}{ends}{self.against}{_few(self.seeds)}"


def claims_table(tables: Sequence[Table], claims: Sequence[Claim] = CLAIMS) -> str:
    """Returns the claims, one line each: difference in case AP with its interval, and the verdict."""
    found = {(i, k): answer(table, each) for i, each in enumerate(claims) for k, table in enumerate(tables)}
    tested = [key for key, it in found.items() if it is not None and it.difference.p_value is not None]
    raw = [it.difference.p_value for key in tested if (it := found[key]) is not None]
    adjusted = dict(zip(tested, holm([p for p in raw if p is not None]), strict=True))
    lines = _heads(["claim", *(table.name for table in tables), "rows from"])
    for i, each in enumerate(claims):
        cells = [
            "not run" if (it := found[i, k]) is None else it.words(adjusted.get((i, k))) for k in range(len(tables))
        ]
        lines.append(_line([each.words, *cells, f"`uadbench bench {each.suite}`"]))
    return "\n".join(lines)


def real_tables(tables: Sequence[Table]) -> str:
    """Returns the claims that some real images answer, and the case AP by kind of lesion."""
    answered = [
        replace(each, suite="real") for each in CLAIMS if any(answer(table, each) is not None for table in tables)
    ]
    return f"{claims_table(tables, answered)}\n\n{kinds_table(tables)}"


def answer(table: Table, asked: Claim) -> Answer | None:
    """Returns what one dataset says about a claim, None if its rows have not been run."""
    if asked.second == BEST_TRIVIAL:
        label = table.best(_trivial, "quick")
    elif asked.second == BEST_OTHER:
        label = table.best(lambda it: _other(it, asked.first), "quick")
    elif asked.second == BEST_SIGNED:
        label = table.best(lambda it: it.record.method.label.endswith("[signed=true]"), "quick", seeds=2)
    else:
        labels = (asked.second,) if isinstance(asked.second, str) else asked.second
        label = next((label for label in labels if (label, "quick") in table.rows), "")
    first, second = table.rows.get((asked.first, asked.preset), []), table.rows.get((label, "quick"), [])
    seeds = {it.record.seed for it in first} & {it.record.seed for it in second}
    pair = [patient_values("ap", [it for it in row if it.record.seed in seeds]) for row in (first, second)]
    if pair[0] is None or pair[1] is None or not pair[0].index.equals(pair[1].index):
        return None
    difference = paired_difference(*(np.asarray(values, np.float64) for values in pair if values is not None))
    return Answer(difference, f" over {label}" if label != asked.second else "", len(seeds))


def kinds_table(tables: Sequence[Table]) -> str:
    """Returns the case AP by kind of lesion of four rows: the best ones are those of all kinds together."""
    heads = ["Synomaly", "best other method", "best trivial baseline", "supervised U-Net"]
    lines = _heads(["lesions (patients)", *heads])
    for table in tables:
        labels = [
            "synomaly",
            table.best(lambda it: _other(it, "synomaly"), "quick"),
            table.best(_trivial, "quick"),
            SUPERVISED,
        ]
        groups = [table.rows.get((label, "quick"), []) for label in labels]
        for kind, patients in _kinds(groups[0]):
            cells = [_of_kind(group, kind) for group in groups]
            told = [cells[0], *(f"{cell} ({label})" for cell, label in zip(cells[1:3], labels[1:3], strict=True))]
            told.append(cells[3])
            lines.append(_line([f"{table.name}: {kind} ({patients})", *told]))
    return "\n".join(lines)


def settings_table(labels: Sequence[str], tables: Sequence[Table]) -> str:
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
        content = between_markers(page, begin, end, text)
        if content is None:
            raise DataError(f"The page has no markers {begin} and {end}.", "Add them where the table belongs.")
        page = content
    return page


def _trivial(entry: Entry) -> bool:
    """Whether a row is a trivial baseline as it is, not an ablation of one."""
    return entry.record.method.name in TRIVIAL and not is_ablation(entry.record)


def _other(entry: Entry, label: str) -> bool:
    """Whether a row is another method without lesion labels, neither trivial nor an ablation nor tuned."""
    method = entry.record.method
    free = tier_of(entry.record) == TIERS[0] and method.name not in TRIVIAL
    return free and method.label != label and not is_ablation(entry.record) and "tuned" not in method.label


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


def _standing(found: Difference, p_value: float | None) -> str:
    if found.low is None or found.high is None or p_value is None:
        return "too few patients"
    if p_value >= 0.05:
        return "open"
    return "**confirmed**" if found.low > 0 else "**refuted**" if found.high < 0 else "open"


def _ends(found: Interval, *, signed: bool = False) -> str:
    if found.low is None or found.high is None:
        return ""
    form = "+.3f" if signed else ".3f"
    return f" ({found.low:{form}} to {found.high:{form}})"


def _heads(cells: Sequence[str]) -> list[str]:
    return [_line(cells), "|" + "---|" * len(cells)]


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


if __name__ == "__main__":
    main()
