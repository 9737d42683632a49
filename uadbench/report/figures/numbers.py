"""Figures of a question page that need only the numbers of its rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from uadbench.evaluation.protocol.headline import DICE
from uadbench.records.read import Entry
from uadbench.report.escape import csv_cell
from uadbench.report.figures.drawing import (
    INK,
    SOFT,
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

MAX_ROWS = 40  # more would not be readable; the table lists all
FOREST = {"case_ap": "case AP", DICE: "Dice at 1 % healthy FPR"}
COSTS = {
    "ms_per_image": ("time", "ms per image", "time per image"),
    "train_s": ("training", "training, s", "training cost"),
}
RULES = {
    DICE: "1 % healthy FPR",
    "dice@synthetic": "synthetic lesions",
    "dice@val": "val lesions",
    "dice@oracle": "oracle on test",
}
KINDS = ("method", "trivial baseline", "unranked")


def draw_numbers(arena: Arena, records: Mapping[str, Entry]) -> Iterator[Drawing]:
    """Yields forest plots, quality against cost and the oracle gap.

    Args:
        arena: The question.
        records: Entries by id.
    """
    everyone = [row for table in arena.tables for row in table.rows]
    for table in arena.tables:
        start = f"{arena.key}-{table.tier.replace(' ', '-')}"
        for key, title in FOREST.items():
            frame = _frame(table.rows, key)
            bar = [row.metrics[key].value for row in everyone if row.trivial and key in row.metrics]
            if not frame.empty:
                top = max((value for value in bar if value is not None), default=None)
                yield Drawing(
                    name=f"{start}-{key.replace('@', '-')}",
                    title=f"{title}, {table.tier}",
                    caption="Mean over seeds, 95 % interval over patients. Dashed: the best trivial baseline.",
                    svg=_forest(frame, title, top),
                    csv=to_csv(frame),
                )
        for column, (name, axis, words) in COSTS.items():
            frame = _frame(table.rows, "case_ap")
            frame = frame[frame[column] > 0]
            if len(frame) > 1:
                devices = {records[key].record.env.device for row in table.rows for key in row.records}
                front = _pareto(frame, column) if len(devices) == 1 else frame.iloc[:0]
                rest = "The line is the Pareto front: no other ranked row is both cheaper and better."
                if len(devices) > 1:
                    rest = "Measured on different machines, so no Pareto front is drawn."
                elif len(front) < 2:
                    rest = "One row is the whole Pareto front." if len(front) else "No row is ranked."
                yield Drawing(
                    name=f"{start}-{name}",
                    title=f"Case AP against {words}, {table.tier}",
                    caption=f"Up and to the left is better. {rest}",
                    svg=_against_cost(frame, front, column, axis),
                    csv=to_csv(frame.assign(on_front=frame["method"].isin(front["method"]))),
                )
        yield from _oracle_gap(table, start)


def _frame(rows: list[Row], key: str) -> pd.DataFrame:
    found: list[dict[str, Any]] = []
    for row in rows:
        number = row.metrics.get(key)
        if number is None or number.value is None:
            continue
        found.append(
            {
                "method": csv_cell(row.label),
                "kind": "unranked" if row.rank is None else "trivial baseline" if row.trivial else "method",
                "value": number.value,
                "low": number.low,
                "high": number.high,
                "ms_per_image": row.predict_ms_per_image,
                "train_s": row.train_s,
            }
        )
    numbers = ["low", "high", "ms_per_image", "train_s"]
    frame = pd.DataFrame(found, columns=["method", "kind", "value", *numbers]).astype(dict.fromkeys(numbers, float))
    return frame.sort_values(["value", "method"], ascending=[False, True], kind="stable").head(MAX_ROWS)


def _forest(frame: pd.DataFrame, title: str, bar: float | None) -> str:
    at = list(range(len(frame)))
    with style():
        figure, axes = axes_of(1.1 + 0.34 * len(frame))
        axes.hlines(at, frame["low"], frame["high"], color=SOFT, linewidth=2)
        _points(axes, frame.assign(row=at), "value", "row")
        if bar is not None:
            axes.axvline(bar, color=SOFT, linestyle="--", linewidth=1)
        axes.set(xlabel=title, ylabel="", xlim=(0, 1), ylim=(len(frame) - 0.4, -0.6))
        axes.set_yticks(at, [short(name).replace("[", "\n[") for name in frame["method"]])
        axes.grid(visible=False, axis="y")
        return to_svg(figure)


def _pareto(frame: pd.DataFrame, cost: str) -> pd.DataFrame:
    """Returns the ranked rows that no other row beats in both cost and quality, cheapest first."""
    ranked = frame[frame["kind"] != "unranked"].sort_values([cost, "value"], ascending=[True, False], kind="stable")
    best = ranked["value"].cummax()
    return ranked[(ranked["value"] == best) & ~best.duplicated()]


def _against_cost(frame: pd.DataFrame, front: pd.DataFrame, column: str, axis: str) -> str:
    with style():
        figure, axes = axes_of(4.0)
        _points(axes, frame, column, "value")
        if len(front) > 1:
            axes.step(front[column], front["value"], where="post", color=SOFT, linewidth=1.2, zorder=1)
        top = float(frame["value"].max())
        axes.set(xscale="log", xlabel=axis, ylabel="case AP", ylim=(0, min(1.03, max(0.1, 1.2 * top))))
        axes.margins(x=0.25)
        low, high = np.log10(axes.get_xlim())
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high - low < 4 else (1,), numticks=9))
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
        _name_points(axes, frame, column)
        return to_svg(figure)


def _name_points(axes: Axes, frame: pd.DataFrame, column: str) -> None:
    """Writes names next to points, best first; overlapping names are moved down or omitted."""
    low, high = np.log10(axes.get_xlim())
    bottom, top = axes.get_ylim()
    taken: list[tuple[float, float, float]] = []
    for name, x, y in zip(frame["method"], frame[column], frame["value"], strict=True):
        label = short(str(name), 24)
        width = 0.014 * len(label)
        left = (np.log10(x) - low) / (high - low) + 0.015
        place = (y - bottom) / (top - bottom) + 0.028  # above the line of the front
        for shift in (0.0, -0.056, 0.045):
            here = place + shift
            if all(left + width < a or left > b or abs(here - at) > 0.042 for a, b, at in taken):
                taken.append((left, left + width, here))
                axes.text(left, here, label, transform=axes.transAxes, fontsize=8, va="center", color=INK)
                break


def _oracle_gap(table: Table, start: str) -> Iterator[Drawing]:
    found: list[dict[str, Any]] = []
    for row in table.rows:
        values = {key: row.metrics[key].value if key in row.metrics else None for key in RULES}
        if values[DICE] is not None and values["dice@oracle"] is not None:
            found.append({"method": csv_cell(row.label), **values})
    if not found:
        return
    frame = pd.DataFrame(found).astype(dict.fromkeys(RULES, float))
    frame["gap"] = frame["dice@oracle"] - frame[DICE]
    frame = frame.sort_values(["dice@oracle", "method"], ascending=[False, True], kind="stable").head(MAX_ROWS)
    at = np.arange(len(frame))
    with style():
        figure, axes = axes_of(1.1 + 0.34 * len(frame))
        axes.hlines(at, frame[DICE], frame["dice@oracle"], color=SOFT, linewidth=2)
        palette = sns.color_palette("colorblind")
        for (key, words), marker, colour in zip(RULES.items(), "osDX", (0, 2, 3, 1), strict=True):
            axes.scatter(frame[key], at, marker=marker, s=45, color=[palette[colour]], label=words, zorder=3)
        axes.set(xlabel="Dice", xlim=(0, 1), ylim=(len(frame) - 0.4, -0.6))
        axes.set_yticks(at, [short(name).replace("[", "\n[") for name in frame["method"]])
        axes.grid(visible=False, axis="y")
        legend_beside(axes, "threshold from")
        svg = to_svg(figure)
    yield Drawing(
        name=f"{start}-oracle-gap",
        title=f"Oracle gap, {table.tier}",
        caption="Dice by origin of the threshold. The oracle saw the test masks: not a result, and the distance "
        "from the filled circle to it is what a better threshold could gain.",
        svg=svg,
        csv=to_csv(frame),
    )


def draw_label_count(arena: Arena, records: Mapping[str, Entry]) -> Iterator[Drawing]:
    """Yields case AP of supervised rows against the number of images with masks that they learned from."""
    found: list[dict[str, Any]] = []
    for row in (row for table in arena.tables for row in table.rows):
        counts = [records[key].record.ledger.train_pixel_labels for key in row.records]
        number = row.metrics.get("case_ap")
        if number is None or number.value is None or not max(counts, default=0):
            continue
        values = {"value": number.value, "low": number.low, "high": number.high}
        found.append({"method": row.method, "label": csv_cell(row.label), "labels": float(np.mean(counts)), **values})
    free = [row for table in arena.tables[:1] for row in table.rows if table.tier == "unsupervised"]
    best = [row.metrics["case_ap"].value for row in free if row.rank is not None]
    if not found:
        return
    frame = pd.DataFrame(found).astype({"low": float, "high": float}).sort_values(["method", "labels", "label"])
    with style():
        figure, axes = axes_of(3.6)
        sns.lineplot(data=frame, x="labels", y="value", hue="method", style="method", markers=True, ax=axes)
        axes.vlines(frame["labels"], frame["low"], frame["high"], color=SOFT, linewidth=1.5)
        top = max((value for value in best if value is not None), default=None)
        if top is not None:
            axes.axhline(top, color=SOFT, linestyle="--", label="best without labels")
        axes.set(xlabel="images with lesion masks in training", ylabel="case AP", ylim=(0, 1.03))
        axes.set_xlim(left=0)
        legend_beside(axes)
        svg = to_svg(figure)
    yield Drawing(
        name=f"{arena.key}-label-count",
        title="Label-count curve",
        caption="What lesion masks in training gain. Dashed: the best ranked row without them.",
        svg=svg,
        csv=to_csv(frame),
    )


def _points(axes: Axes, frame: pd.DataFrame, x: str, y: str) -> None:
    """Draws points with colour and shape by kind."""
    palette: dict[str, Any] = dict(zip(KINDS, [*colours(2), (0.6, 0.6, 0.6)], strict=True))
    present = [kind for kind in KINDS if kind in set(frame["kind"])]
    sns.scatterplot(
        data=frame,
        x=x,
        y=y,
        hue="kind",
        style="kind",
        hue_order=present,
        style_order=present,
        palette={kind: palette[kind] for kind in present},
        markers={kind: mark for kind, mark in zip(KINDS, "oDX", strict=True) if kind in present},
        s=60,
        zorder=3,
        ax=axes,
    )
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3)
