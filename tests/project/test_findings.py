"""The tables of docs/findings.md: they agree with the leaderboard, and a claim turned around is refuted."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tools.findings import BEST_TRIVIAL, Answer, Claim, answer, claims_table, filled
from tools.findings_rows import Table, read_tables
from uadbench.core.errors import DataError
from uadbench.evaluation.statistics.comparisons import Difference
from uadbench.report.tables.model import Leaderboard, Row

ROOT = Path(__file__).parents[2]
QUICK = "quick"


@pytest.fixture(scope="module")
def tables() -> list[Table]:
    return [table for table in read_tables(ROOT / "leaderboard" / "records") if table.arena.tested.source == "phantom"]


def row_of(table: Table, label: str) -> Row:
    board = Leaderboard.model_validate(json.loads((ROOT / "leaderboard" / "leaderboard.json").read_text()))
    records = {entry.record.id for entry in table.rows[label, QUICK]}
    found = (row for arena in board.arenas for each in arena.tables for row in each.rows)
    return next(row for row in found if set(row.records) == records)


def said(table: Table, claim: Claim) -> str:
    """The answer to a claim that is the only one of its table."""
    found = answer(table, claim)
    return "not run" if found is None else found.words(found.difference.p_value)


def difference(words: str) -> float:
    found = re.search(r": ([+-][0-9.]+) \(", words)
    assert found is not None, words
    return float(found[1])


def test_the_difference_to_the_best_trivial_baseline_is_that_of_the_leaderboard(tables: list[Table]) -> None:
    assert tables
    for table in tables:
        versus = row_of(table, "synomaly").versus_trivial
        assert versus is not None
        words = said(table, Claim("", "synomaly", BEST_TRIVIAL, ""))
        assert difference(words) == pytest.approx(versus.difference, abs=5.1e-4)
        assert words.endswith(f"over {versus.baseline}")
        assert words.startswith("**confirmed**") == bool(versus.beats)


def test_a_claim_turned_around_is_refuted_and_a_missing_row_is_said_to_be_missing(tables: list[Table]) -> None:
    table = tables[0]
    assert said(table, Claim("", "intensity", "random", "")).startswith("**confirmed**: +")
    assert said(table, Claim("", "random", "intensity", "")).startswith("**refuted**: -")
    assert said(table, Claim("", "intensity", "nowhere", "")) == "not run"
    assert said(table, Claim("", "intensity", ("nowhere", "random"), "")).endswith("over random")


def test_a_verdict_needs_interval_and_adjusted_test() -> None:
    above, below = Difference(0.1, 0.01, 0.2, 0.02, 36), Difference(-0.1, -0.2, -0.01, 0.02, 36)
    assert Answer(above, "", 3).words(0.04) == "**confirmed**: +0.100 (+0.010 to +0.200)"
    assert Answer(below, "", 3).words(0.04).startswith("**refuted**")
    assert Answer(above, "", 3).words(0.05).startswith("open")
    assert Answer(Difference(0.1, -0.01, 0.2, 0.001, 36), "", 3).words(0.01).startswith("open")
    assert Answer(Difference(0.1, None, None, None, 5), "", 1).words(None) == "too few patients: +0.100, 1 seed"


def test_the_p_values_of_a_table_are_adjusted_together(tables: list[Table]) -> None:
    alone = [claims_table([table]) for table in tables]
    together = claims_table(tables)
    # Holm's method makes no p value smaller when others join: a verdict may become open and never the reverse.
    for k, table in enumerate(tables):
        for one, all_of_them in zip(alone[k].splitlines()[2:], together.splitlines()[2:], strict=True):
            before, after = one.split(" | ")[1], all_of_them.split(" | ")[1 + k]
            assert after == before or after == re.sub(r"^\*\*\w+\*\*", "open", before), table.name


def test_a_table_goes_between_its_markers_and_a_page_without_them_is_an_error() -> None:
    page = "a\n<!-- claims: begin -->\nold\n<!-- claims: end -->\nb"
    assert filled(page, {"claims": "new"}) == "a\n<!-- claims: begin -->\n\nnew\n\n<!-- claims: end -->\nb"
    with pytest.raises(DataError, match="no markers"):
        filled(page, {"noise": "new"})
