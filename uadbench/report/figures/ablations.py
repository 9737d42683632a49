"""Ablation curves: rows of one method that differ in a single config value."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from uadbench.core.record import stable_hash
from uadbench.evaluation.protocol.headline import DICE
from uadbench.records.read import Entry, plain
from uadbench.report.escape import csv_cell
from uadbench.report.figures.drawing import SOFT, Drawing, axes_of, colours, short, style, to_csv, to_svg
from uadbench.report.tables.model import Arena, Row

SHOWN = {"case_ap": "case AP", DICE: "Dice at 1 % healthy FPR"}
MAX_FIGURES = 12


def draw_ablations(method: str, arena: Arena, records: Mapping[str, Entry]) -> Iterator[Drawing]:
    """Yields one figure per config key that is the only difference between some rows of the method.

    Args:
        method: Name of the method.
        arena: The question whose rows are compared.
        records: Entries by id.
    """
    drawn = 0
    for table in arena.tables:
        rows = [row for row in table.rows if row.method == method and "case_ap" in row.metrics]
        configs = [records[row.records[0]].record.method.config for row in rows]
        for key in sorted({key for config in configs for key in config}):
            for group in _varied(key, rows, configs):
                if drawn == MAX_FIGURES:
                    return
                drawn += 1
                yield _draw(method, arena, table.tier, plain(key, 40), group)


def _varied(key: str, rows: list[Row], configs: list[dict[str, Any]]) -> Iterator[list[tuple[Any, Row]]]:
    """Yields groups of two or more rows that differ only in the value of a key."""
    groups: dict[str, list[tuple[Any, Row]]] = defaultdict(list)
    for row, config in zip(rows, configs, strict=True):
        if key in config:
            rest = {name: value for name, value in config.items() if name != key}
            groups[stable_hash(rest)].append((config[key], row))
    for group in groups.values():
        if len({stable_hash(value) for value, _ in group}) == len(group) > 1:
            yield group


def _draw(method: str, arena: Arena, tier: str, key: str, group: list[tuple[Any, Row]]) -> Drawing:
    numeric = all(isinstance(value, int | float) and not isinstance(value, bool) for value, _ in group)
    group = sorted(group, key=lambda pair: pair[0] if numeric else stable_hash(pair[0]))
    words = [short(plain(str(value), 60), 24) for value, _ in group]
    at = [float(value) for value, _ in group] if numeric else [float(i) for i in range(len(group))]
    frame = pd.DataFrame(
        {"setting": [csv_cell(word) for word in words], "method": [csv_cell(row.label) for _, row in group]}
    )
    for metric in SHOWN:
        numbers = [row.metrics.get(metric) for _, row in group]
        for part in ("value", "low", "high"):
            values = [None if number is None else getattr(number, part) for number in numbers]
            frame[f"{metric} {part}"] = pd.Series(values, dtype=float)
    with style():
        figure, axes = axes_of(3.4)
        for (metric, title), colour, marker in zip(SHOWN.items(), colours(2), "oD", strict=True):
            axes.vlines(at, frame[f"{metric} low"], frame[f"{metric} high"], color=SOFT, linewidth=1.5)
            line = "-" if numeric else ""
            axes.plot(at, frame[f"{metric} value"], linestyle=line, color=colour, marker=marker, label=title)
        axes.set(xlabel=key, ylim=(0, 1.02))
        if not numeric or len(at) <= 8:
            axes.set_xticks(at, words)
        axes.margins(x=0.1)
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2)
        svg = to_svg(figure)
    first = stable_hash([row.records[0] for _, row in group], 6)
    return Drawing(
        name=f"{method}-{arena.key}-{first}",
        title=f"{key} on {arena.tested.name} ({arena.tested.source}), preset {arena.preset}, {tier}",
        caption="Rows that differ only in this value; 95 % intervals over patients.",
        svg=svg,
        csv=to_csv(frame),
    )
