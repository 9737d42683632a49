"""Contents of the pages as plain values: the overview's matrix, a method's rows, a run's parts."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from markdown_it import MarkdownIt
from markupsafe import Markup

import uadbench
from uadbench.evaluation.protocol import headline
from uadbench.evaluation.protocol.headline import DICE
from uadbench.records.read import Entry, plain
from uadbench.report.site.gallery import Strip
from uadbench.report.tables.matrix import Cell
from uadbench.report.tables.model import Arena, Row
from uadbench.report.tables.tables import RANKING_KEY
from uadbench.report.tables.text import number_text

MAX_README_BYTES = 100_000
CASE_COLUMNS = (
    ("ap", "AP"),
    (DICE, "Dice at 1 % healthy FPR"),
    ("auroc", "AUROC"),
    (headline.FPR, "FPR"),
    ("image_score", "image score"),
    ("lesion_pixels", "lesion pixels"),
)


def hover(cell: Cell, key: str) -> str:
    """Returns the tooltip of a cell of the matrix: the full number, as plain text."""
    row = cell.row
    told = [number_text(row.metrics.get(key)), f"case AP {number_text(row.metrics.get(RANKING_KEY))}"]
    told.append(f"unranked: {row.unranked_because}" if row.rank is None else f"rank {row.rank} of its table")
    told.append(f"seeds {', '.join(str(seed) for seed in row.seeds) or 'none'}, {row.verification}")
    return "; ".join(told)


def breakable(text: str) -> Markup:
    """Returns a label with line-break opportunities before its variant, between its settings and within keys."""
    return Markup("<wbr>").join(re.split(r"(?=\[)|(?<=[,_@=])", text))  # joining escapes each part


def target(row: Row, root: str, metric: str = "") -> str:
    """Returns the address of a number's source: its run, or for several seeds the row that lists them."""
    if len(row.records) == 1:
        return f"{root}runs/{row.records[0]}.html" + (f"#{metric}" if metric else "")
    return f"{root}methods/{row.method}.html#row-{row.records[0]}"


def best_first(strips: list[Strip], arena: Arena) -> list[Strip]:
    """Returns the inputs and then the methods' strips by their case AP in a question; methods without one come last."""
    rows = [row for table in arena.tables for row in table.rows if RANKING_KEY in row.metrics]
    known = {row.label: row.metrics[RANKING_KEY].value or 0.0 for row in reversed(rows)}  # ranked ones count
    return sorted(strips, key=lambda strip: (bool(strip.label), -known.get(strip.label, -1.0)))


@dataclass(frozen=True)
class MethodRow:
    """A row on the page of its method, with the results of each seed."""

    arena: Arena
    tier: str
    ranked: int
    row: Row
    seeds: list[tuple[str, str]]


def method_rows(method: str, arenas: list[Arena], records: Mapping[str, Entry]) -> list[MethodRow]:
    """Returns all rows of a method, question by question."""
    found: list[MethodRow] = []
    for arena in arenas:
        for table in arena.tables:
            ranked = sum(row.rank is not None for row in table.rows)
            for row in table.rows:
                if row.method == method:
                    found.append(MethodRow(arena, table.tier, ranked, row, list(_seeds(row, records))))
    return found


def _seeds(row: Row, records: Mapping[str, Entry]) -> Iterator[tuple[str, str]]:
    for key in row.records:
        record = records[key].record
        metric = record.metrics.get("case_ap")
        value = record.status if metric is None or metric.value is None else f"{metric.value:.3f}"
        yield key, f"seed {record.seed}: {value}"


def method_card(method: str) -> Markup:
    """Returns the README of a built-in method as HTML, "" for other methods.

    Raw HTML in it is shown as text, and headings move one level down, because the page has its own.
    """
    file = Path(uadbench.__file__).parent / "methods" / method / "README.md"
    if not file.is_file() or file.stat().st_size > MAX_README_BYTES:
        return Markup("")
    text = file.read_text(encoding="utf-8")
    head, _, rest = text.partition("\n")
    renderer = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = renderer.parse(rest if head.startswith("# ") else text)
    for token in tokens:
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{min(6, int(token.tag[1:]) + 1)}"
    # markdown-it escapes all text and refuses addresses that run code.
    return Markup(renderer.renderer.render(tokens, renderer.options, {}))  # noqa: S704


def run_parts(entry: Entry) -> list[tuple[str, list[tuple[str, str]]]]:
    """Returns titled lists of names and values: everything in a record except its metrics."""
    record = entry.record
    parts: list[tuple[str, dict[str, Any]]] = [
        ("Labels that were known", record.ledger.model_dump()),
        ("Config", record.method.config),
        ("Cost", {} if record.cost is None else record.cost.model_dump()),
        ("Environment", {key: value for key, value in record.env.model_dump().items() if value != []}),
        ("Test data", entry.tested.model_dump()),
        ("Training data", {} if record.test_on is None else record.dataset.model_dump()),
        ("Protocol", record.protocol.model_dump()),
    ]
    return [(title, list(pairs(values))) for title, values in parts if values]


def pairs(values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yields names and values as plain text."""
    for key, value in list(values.items())[:200]:
        if isinstance(value, Mapping):
            text = ", ".join(f"{name} {item}" for name, item in list(value.items())[:200])
        else:
            text = value if isinstance(value, str) else json.dumps(value, sort_keys=True, default=str)
        yield plain(str(key), 80), plain(text)


def case_rows(entry: Entry) -> tuple[list[str], list[tuple[str, str, str, bool, list[str]]]]:
    """Returns headings and rows (case, patient, kind, lesion, numbers) of a run's cases; "" where undefined."""
    if entry.cases is None:
        return [], []
    # Lesions first, worst first.
    table = entry.cases.assign(order=pd.to_numeric(entry.cases["ap"], errors="coerce"))
    table = table.sort_values(["order", "case"], kind="stable")
    columns = [(key, head) for key, head in CASE_COLUMNS if key in table.columns]
    numbers: list[list[str]] = []
    for key, _ in columns:
        values: list[float] = pd.to_numeric(table[key], errors="coerce").astype(float).tolist()
        numbers.append(["" if math.isnan(value) else f"{value:.4g}" for value in values])
    rows = [
        (plain(case, 60), plain(patient, 60), "" if pd.isna(kind) else plain(str(kind), 40), bool(lesion), list(found))
        for case, patient, kind, lesion, *found in zip(
            table["case"].astype(str),
            table["patient"].astype(str),
            table["kind"] if "kind" in table else [""] * len(table),
            table["lesion"] if "lesion" in table else [True] * len(table),
            *numbers,
            strict=True,
        )
    ]
    return [head for _, head in columns], rows


def cleaned(value: Any) -> Any:
    """Returns JSON-able data whose texts are short, plain and free of file paths."""
    if isinstance(value, str):
        return plain(value)
    if isinstance(value, Mapping):
        return {plain(str(key), 80): cleaned(item) for key, item in value.items()}
    if isinstance(value, list):
        return [cleaned(item) for item in value]
    return value
