"""The tables of docs/findings.md: they agree with the leaderboard, and a claim turned around is refuted."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tools.findings import BEST_TRIVIAL, Claim, Table, filled, read_tables, verdict
from uadbench.core.errors import DataError
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


def difference(words: str) -> float:
    found = re.search(r": ([+-][0-9.]+) \(", words)
    assert found is not None, words
    return float(found[1])


def test_the_difference_to_the_best_trivial_baseline_is_that_of_the_leaderboard(tables: list[Table]) -> None:
    assert tables
    for table in tables:
        versus = row_of(table, "synomaly").versus_trivial
        assert versus is not None
        words = verdict(table, Claim("", "synomaly", BEST_TRIVIAL, ""))
        assert difference(words) == pytest.approx(versus.difference, abs=5.1e-4)
        assert words.endswith(f"over {versus.baseline}")
        assert words.startswith("**confirmed**") == bool(versus.beats)


def test_a_claim_turned_around_is_refuted_and_a_missing_row_is_said_to_be_missing(tables: list[Table]) -> None:
    table = tables[0]
    assert verdict(table, Claim("", "intensity", "random", "")).startswith("**confirmed**: +")
    assert verdict(table, Claim("", "random", "intensity", "")).startswith("**refuted**: -")
    assert verdict(table, Claim("", "intensity", "nowhere", "")) == "not run"
    assert verdict(table, Claim("", "intensity", ("nowhere", "random"), "")).endswith("over random")


def test_a_table_goes_between_its_markers_and_a_page_without_them_is_an_error() -> None:
    page = "a\n<!-- claims: begin -->\nold\n<!-- claims: end -->\nb"
    assert filled(page, {"claims": "new"}) == "a\n<!-- claims: begin -->\n\nnew\n\n<!-- claims: end -->\nb"
    with pytest.raises(DataError, match="no markers"):
        filled(page, {"noise": "new"})
