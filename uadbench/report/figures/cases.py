"""Figures of a question page that need case tables and curves: ranks, ROC and PR, Dice by lesion size."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
import scikit_posthocs
import seaborn as sns

from uadbench.core.errors import DataError
from uadbench.evaluation.protocol.headline import DICE
from uadbench.evaluation.statistics.comparisons import CriticalDifference, critical_difference, table_of
from uadbench.evaluation.statistics.intervals import patient_means
from uadbench.records.curves import mean_curve
from uadbench.records.read import Entry
from uadbench.report.escape import csv_cell
from uadbench.report.figures.drawing import (
    INK,
    MARKERS,
    Drawing,
    axes_of,
    colours,
    legend_beside,
    short,
    style,
    to_csv,
    to_svg,
)
from uadbench.report.tables.model import Arena, Row, Table
from uadbench.report.tables.patients import patient_values

MAX_LINES = 10  # number of distinguishable lines
MAX_RANKED = 16  # number of names that fit around one axis
SIZE_BINS = 4
GRID = np.linspace(0.0, 1.0, 101)


def draw_cases(arena: Arena, records: Mapping[str, Entry]) -> Iterator[Drawing]:
    """Yields the figures of each tier.

    Args:
        arena: The question.
        records: Entries by id.
    """
    for table in arena.tables:
        start = f"{arena.key}-{table.tier.replace(' ', '-')}"
        yield from _ranks(table, start, records)
        yield from _curves(table, start, records)
        yield from _sizes(table, start, records)


def case_values(row: Row, records: Mapping[str, Entry], column: str) -> dict[str, float] | None:
    """Returns one value per lesion patient: the mean over cases and seeds; None without all tables."""
    done = [records[key] for key in row.records if records[key].record.status == "done"]
    values = patient_values(column, done)
    return None if values is None else {str(name): float(value) for name, value in values.items()}


def _ranks(table: Table, start: str, records: Mapping[str, Entry]) -> Iterator[Drawing]:
    rows = [row for row in table.rows if row.rank is not None][:MAX_RANKED]
    known = {f"{i}": values for i, row in enumerate(rows) if (values := case_values(row, records, "ap")) is not None}
    try:
        result = critical_difference(table_of(known))
    except DataError:
        return  # too few rows or patients, or rows over different patients
    names = {key: rows[int(key)].label for key in known}
    order = sorted(known, key=lambda key: (result.mean_ranks[key], names[key]))
    frame = pd.DataFrame(
        {
            "method": [csv_cell(names[key]) for key in order],
            "mean_rank": [result.mean_ranks[key] for key in order],
            "critical_difference": result.critical_difference,
            "friedman_p": result.friedman_p,
        }
    )
    yield Drawing(
        name=f"{start}-critical-difference",
        title=f"Critical-difference diagram, {table.tier}",
        caption=f"Mean rank of case AP over patients, best at the left. A bar joins rows that Nemenyi's test at 5 % "
        f"does not distinguish (critical difference {result.critical_difference:.2f}; Friedman test "
        f"p {'< 0.001' if result.friedman_p < 0.001 else f'= {result.friedman_p:.3f}'}).",
        svg=_diagram(result, order, names),
        csv=to_csv(frame),
    )


def _diagram(result: CriticalDifference, order: list[str], names: dict[str, str]) -> str:
    # Integers as names: the library iterates over sets, whose order for strings changes from run to run.
    keys = [int(key) for key in order]
    matrix = result.nemenyi.copy()
    matrix.index = matrix.columns = [int(key) for key in matrix.columns]
    with style():
        figure, axes = axes_of(1.6 + 0.19 * len(keys))
        parts = scikit_posthocs.critical_difference_diagram(
            {key: result.mean_ranks[str(key)] for key in keys},
            matrix.loc[keys, keys],
            ax=axes,
            label_fmt_left="{label}",
            label_fmt_right="{label}",
            label_props={"fontsize": 9},
            color_palette=[INK] * len(keys),
            crossbar_props={"color": colours(1)[0], "linewidth": 3},
            marker_props={"s": 18},
            text_h_margin=0.08,
        )
        for text in parts["labels"]:
            key = text.get_text()
            text.set_text(f"{short(names[key], 32)} ({result.mean_ranks[key]:.1f})")
        axes.grid(visible=False)
        return to_svg(figure)


def _curves(table: Table, start: str, records: Mapping[str, Entry]) -> Iterator[Drawing]:
    for name, title, x, y in (
        ("roc", "ROC curves", "false positive rate", "true positive rate"),
        ("pr", "Precision-recall curves", "recall", "precision"),
    ):
        found: list[pd.DataFrame] = []
        for row in table.rows[: 3 * MAX_LINES]:
            line = _mean_line(row, records, name)
            if line is not None:
                found.append(pd.DataFrame({"method": csv_cell(row.label), x: GRID, y: line}))
        if not found:
            continue
        shown = pd.concat(found[:MAX_LINES])
        with style():
            figure, axes = axes_of(4.0)
            sns.lineplot(
                data=shown.assign(method=[short(str(name), 30) for name in shown["method"]]),
                x=x,
                y=y,
                hue="method",
                style="method",
                palette=colours(len(found[:MAX_LINES])),
                errorbar=None,
                estimator=None,
                linewidth=1.8,
                ax=axes,
            )
            axes.set(xlim=(0, 1), ylim=(0, 1.02))
            legend_beside(axes)
            svg = to_svg(figure)
        more = f" The first {MAX_LINES} rows of the table; the CSV contains more." if len(found) > MAX_LINES else ""
        yield Drawing(
            name=f"{start}-{name}",
            title=f"{title}, {table.tier}",
            caption=f"All scored pixels of all test cases pooled, mean over seeds.{more}",
            svg=svg,
            csv=to_csv(pd.concat(found)),
        )


def _mean_line(row: Row, records: Mapping[str, Entry], name: str) -> np.ndarray | None:
    curves: list[tuple[list[float], list[float]]] = []
    for entry in (records[key] for key in row.records):
        if entry.record.status != "done":
            continue
        roc, pr = (None, None) if entry.curves is None else (entry.curves.roc, entry.curves.pr)
        if name == "roc":
            curves.append(([], []) if roc is None else ([0.0, *roc.fpr], [0.0, *roc.tpr]))
        else:
            curves.append(([], []) if pr is None else (pr.recall, pr.precision))
    return mean_curve(curves, GRID)


def _sizes(table: Table, start: str, records: Mapping[str, Entry]) -> Iterator[Drawing]:
    """Yields patient-mean Dice in bins of lesion area; the bins are quantiles of the test cases' areas."""
    edges: np.ndarray | None = None
    found: list[dict[str, Any]] = []
    shown = 0
    for row in table.rows:
        tables = [records[key].cases for key in row.records if records[key].record.status == "done"]
        cases = [table for table in tables if table is not None and {DICE, "lesion_pixels"} <= set(table.columns)]
        if not cases or len(cases) < len(tables) or shown == MAX_LINES:
            continue
        joined = pd.concat(cases)
        joined = joined[joined["lesion"].astype(bool)]
        area = pd.to_numeric(joined["lesion_pixels"], errors="coerce").to_numpy(float)
        dice = pd.to_numeric(joined[DICE], errors="coerce").to_numpy(float)
        if edges is None:
            edges = np.unique(np.quantile(area, np.linspace(0, 1, SIZE_BINS + 1))) if len(area) else np.zeros(0)
        if len(edges) < 3:
            return
        place = np.clip(np.searchsorted(edges, area, side="right") - 1, 0, len(edges) - 2)
        shown += 1
        for k in range(len(edges) - 1):
            inside = (place == k) & np.isfinite(dice)
            if not inside.any():
                continue
            means = patient_means(dice[inside].tolist(), joined["patient"].astype(str)[inside].tolist())[1]
            words = f"{edges[k]:.0f} to {edges[k + 1]:.0f}"
            found.append({"method": csv_cell(row.label), "lesion_pixels": words, "dice": float(np.mean(means))})
    if not found:
        return
    frame = pd.DataFrame(found)
    with style():
        figure, axes = axes_of(4.0)
        names = list(dict.fromkeys(frame["method"]))
        order = list(dict.fromkeys(frame["lesion_pixels"]))
        for name, colour, marker in zip(names, colours(len(names)), MARKERS, strict=False):
            part = frame[frame["method"] == name]
            at = [order.index(words) for words in part["lesion_pixels"]]
            axes.plot(at, part["dice"], color=colour, marker=marker, markersize=6, label=short(name, 30))
        axes.set_xticks(range(len(order)), order)
        axes.set(xlabel="lesion pixels in the case", ylabel="Dice at 1 % healthy FPR", ylim=(0, 1.02))
        legend_beside(axes)
        svg = to_svg(figure)
    yield Drawing(
        name=f"{start}-dice-by-size",
        title=f"Dice by lesion size, {table.tier}",
        caption="Mean over patients and seeds in four equally filled bins of the lesion area of a case. "
        "Small lesions are where methods differ.",
        svg=svg,
        csv=to_csv(frame),
    )
