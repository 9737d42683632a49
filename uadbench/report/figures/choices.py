"""Figures of a question page on the effects of protocol choices and post-processing on the same maps."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns

from uadbench.records.read import Entry
from uadbench.report.escape import csv_cell
from uadbench.report.figures.drawing import SOFT, Drawing, axes_of, legend_beside, short, style, to_csv, to_svg
from uadbench.report.figures.numbers import MAX_ROWS
from uadbench.report.tables.model import Arena, Row

PANELS = {"dice": "Dice", "ap": "AP"}


def draw_choices(arena: Arena, records: Mapping[str, Entry]) -> Iterator[Drawing]:
    """Yields for each tier the steps from one protocol to the other and those of the post-processing ladder.

    Args:
        arena: The question.
        records: Entries by id.
    """
    for table in arena.tables:
        start = f"{arena.key}-{table.tier.replace(' ', '-')}"
        protocols = _frame(table.rows, records, _protocol_steps)
        if not protocols.empty:
            yield Drawing(
                name=f"{start}-protocol-gap",
                title=f"Effects of protocol choices, {table.tier}",
                caption="Dice and AP of the same maps, one choice changed at a time: the threshold chosen on the test "
                "set, slices pooled instead of patients averaged, AP computed after the threshold. Nothing was trained "
                "or predicted again. Mean over seeds; only the first marker of a row is a result.",
                svg=_steps(protocols, "choices up to"),
                csv=to_csv(protocols),
            )
        ladder = _frame(table.rows, records, _ladder_steps)
        if not ladder.empty:
            yield Drawing(
                name=f"{start}-ladder",
                title=f"Post-processing ladder, {table.tier}",
                caption="Dice at 1 % healthy FPR and AP as steps are added: body erosion, blur or median, small "
                "components dropped. Their parameters were chosen without the test set. Mean over seeds; the table of "
                "results uses the raw maps, the first marker.",
                svg=_steps(ladder, "steps up to"),
                csv=to_csv(ladder),
            )


def _protocol_steps(entry: Entry) -> list[tuple[str, float, float]] | None:
    """Returns name, Dice and AP of each step between the protocols, or None if a run has none."""
    gap = None if entry.gaps is None else entry.gaps.protocol_gap
    if gap is None:
        return None
    return [(gap.first, gap.start.dice, gap.start.ap), *((step.choice, step.dice, step.ap) for step in gap.steps)]


def _ladder_steps(entry: Entry) -> list[tuple[str, float, float]] | None:
    """Returns name, Dice and AP of each step of the ladder."""
    if entry.ladder is None:
        return None
    numbers = [(rung.step, rung.test_dice.value, rung.test_ap.value) for rung in entry.ladder.steps]
    found = [(name, dice, ap) for name, dice, ap in numbers if dice is not None and ap is not None]
    return found if len(found) == len(numbers) else None


def _frame(
    rows: list[Row], records: Mapping[str, Entry], steps: Callable[[Entry], list[tuple[str, float, float]] | None]
) -> pd.DataFrame:
    """Returns one line per row and step, the mean over seeds; rows with a seed that lacks steps are skipped."""
    found: list[dict[str, Any]] = []
    for row in rows:
        done = [records[key] for key in row.records if records[key].record.status == "done"]
        seeds = [each for each in map(steps, done) if each]
        names = [[name for name, _, _ in each] for each in seeds]
        if not seeds or len(seeds) < len(done) or any(each != names[0] for each in names):
            continue
        means = np.mean([[numbers for _, *numbers in each] for each in seeds], axis=0)
        for name, (dice, ap) in zip(names[0], means.tolist(), strict=True):
            found.append({"method": csv_cell(row.label), "step": csv_cell(name), "dice": dice, "ap": ap})
        if len({line["method"] for line in found}) == MAX_ROWS:
            break
    return pd.DataFrame(found, columns=["method", "step", "dice", "ap"])


def _steps(frame: pd.DataFrame, legend: str) -> str:
    """Draws a line of marks for each row, Dice on the left and AP on the right."""
    methods, steps = list(dict.fromkeys(frame["method"])), list(dict.fromkeys(frame["step"]))
    place = frame["method"].map({name: i for i, name in enumerate(methods)})
    palette = sns.color_palette("colorblind")
    with style():
        figure, first = axes_of(1.2 + 0.3 * len(methods), 9.0)
        first.remove()
        panels = figure.subplots(1, 2, sharey=True)
        for axes, (key, words) in zip(panels, PANELS.items(), strict=True):
            spread = frame.groupby(place)[key].agg(["min", "max"])
            axes.hlines(spread.index, spread["min"], spread["max"], color=SOFT, linewidth=1.5)
            for i, step in enumerate(steps):
                here = frame["step"] == step
                axes.scatter(
                    frame.loc[here, key],
                    place[here],
                    marker="oDXs^vP*"[i % 8],
                    s=60 - 8 * min(i, 4),
                    color=[palette[i % len(palette)]],
                    label=step,
                    zorder=3,
                )
            axes.set(xlabel=words, xlim=(0, 1), ylim=(len(methods) - 0.4, -0.6))
            axes.grid(visible=False, axis="y")
        panels[0].set_yticks(range(len(methods)), [short(name, 30) for name in methods])
        legend_beside(panels[1], legend)
        return to_svg(figure)
