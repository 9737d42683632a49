"""Figures of a dataset page: SVG with the data behind them. Nothing here sets a global style."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from uadbench.report.model import Arena, Row

MAX_ROWS = 60  # more would not be read; the table and the CSV hold all
# Nothing random and no date in the file; text stays text, so that it can be read aloud and searched.
_SVG: dict[Any, Any] = {"svg.hashsalt": "uadbench", "svg.fonttype": "none", "text.parse_math": False}
FOREST = {"case_ap": "case AP", "dice@healthy-fpr@0.01": "Dice at 1 % healthy FPR"}
KINDS = {"method": 0, "trivial baseline": 1, "unranked": 2}


@dataclass(frozen=True)
class Drawing:
    """A figure.

    Attributes:
        name: File name without suffix.
        title: What it shows.
        caption: How to read it.
        svg: The figure.
        csv: The data behind it.
    """

    name: str
    title: str
    caption: str
    svg: str
    csv: str

    @property
    def data_uri(self) -> str:
        """The figure as an address that needs no other file."""
        return "data:image/svg+xml;base64," + base64.b64encode(self.svg.encode()).decode()


def draw_arena(arena: Arena) -> Iterator[Drawing]:
    """Yields the figures of each tier: forest plots of case AP and headline Dice, and quality against time."""
    everyone = [row for table in arena.tables for row in table.rows]
    for table in arena.tables:
        start = f"{arena.key}-{table.tier.replace(' ', '-')}"
        for key, title in FOREST.items():
            frame = _frame(table.rows, key)
            bar = [row.metrics[key].value for row in everyone if row.trivial and key in row.metrics]
            if not frame.empty:
                yield Drawing(
                    name=f"{start}-{key.replace('@', '-')}",
                    title=f"{title}, {table.tier}",
                    caption="Mean over seeds, 95 % interval over patients. Dashed: the best trivial baseline.",
                    svg=_forest(frame, title, max((value for value in bar if value is not None), default=None)),
                    csv=frame.to_csv(index=False, lineterminator="\n"),
                )
        frame = _frame(table.rows, "case_ap").dropna(subset=["ms_per_image"])
        frame = frame[frame["ms_per_image"] > 0]
        if len(frame) > 1:
            yield Drawing(
                name=f"{start}-time",
                title=f"Case AP against time an image, {table.tier}",
                caption="Up and to the left is better. Times of different machines do not compare.",
                svg=_against_time(frame),
                csv=frame.to_csv(index=False, lineterminator="\n"),
            )


def _frame(rows: list[Row], key: str) -> pd.DataFrame:
    found: list[dict[str, Any]] = []
    for row in rows:
        number = row.metrics.get(key)
        if number is None or number.value is None:
            continue
        kind = "unranked" if row.rank is None else "trivial baseline" if row.trivial else "method"
        found.append(
            {
                # A spreadsheet must not take a name for a formula.
                "method": row.label if row.label[:1].isalnum() else f"'{row.label}",
                "kind": kind,
                "value": number.value,
                "low": number.low,
                "high": number.high,
                "ms_per_image": row.predict_ms_per_image,
            }
        )
    columns = ["method", "kind", "value", "low", "high", "ms_per_image"]
    frame = pd.DataFrame(found, columns=columns).astype({"low": float, "high": float, "ms_per_image": float})
    return frame.sort_values(["value", "method"], ascending=[False, True], kind="stable").head(MAX_ROWS)


def _forest(frame: pd.DataFrame, title: str, bar: float | None) -> str:
    names = [name if len(name) <= 40 else name[:39] + "…" for name in frame["method"]]
    at = list(range(len(frame)))
    with sns.axes_style("whitegrid"), mpl.rc_context(_SVG):
        figure = Figure(figsize=(8, 1.2 + 0.36 * len(frame)), layout="constrained")
        axes: Axes = figure.subplots()
        axes.hlines(at, frame["low"], frame["high"], color="0.45", linewidth=2)
        _points(axes, frame.assign(row=at), "value", "row")
        if bar is not None:
            axes.axvline(bar, color="0.3", linestyle="--", linewidth=1)
        axes.set(xlabel=title, ylabel="", xlim=(0, 1), ylim=(len(frame) - 0.5, -0.5))
        axes.set_yticks(at, names)
        axes.grid(visible=False, axis="y")
        return _to_svg(figure)


def _against_time(frame: pd.DataFrame) -> str:
    with sns.axes_style("whitegrid"), mpl.rc_context(_SVG):
        figure = Figure(figsize=(8, 4.5), layout="constrained")
        axes: Axes = figure.subplots()
        _points(axes, frame, "ms_per_image", "value")
        for name, x, y in zip(frame["method"], frame["ms_per_image"], frame["value"], strict=True):
            axes.annotate(str(name)[:30], (x, y), textcoords="offset points", xytext=(7, 3), fontsize=8)
        axes.set(xscale="log", xlabel="ms an image", ylabel="case AP", ylim=(0, 1))
        axes.margins(x=0.2)
        return _to_svg(figure)


def _points(axes: Axes, frame: pd.DataFrame, x: str, y: str) -> None:
    """Draws points whose kind shows in colour and in shape."""
    colours = sns.color_palette("colorblind")
    palette = {kind: colours[i] if kind != "unranked" else (0.6, 0.6, 0.6) for kind, i in KINDS.items()}
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
        s=70,
        zorder=3,
        ax=axes,
    )
    axes.legend(title=None, loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False)


def _to_svg(figure: Figure) -> str:
    stream = io.StringIO()
    FigureCanvasSVG(figure).print_svg(stream, metadata={"Date": None, "Creator": None})
    return stream.getvalue()
