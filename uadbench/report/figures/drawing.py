"""Style of figures: SVG without dates or random names, colour-blind safe, light and dark from one file."""

from __future__ import annotations

import io
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

WIDTH = 7.2  # inches
MARKERS = ("o", "s", "D", "^", "v", "P", "X", "*", "<", ">")
# Colours of text, lines and marks, which the dark scheme replaces.
INK, SOFT, GRID = "#1c2430", "#566273", "#d5dae1"
_DARK = {INK: "#e6eaf0", SOFT: "#a4afbe", GRID: "#343d4a"}
# Nothing random and no date in the file; text remains text, for screen readers and search.
_SVG: dict[Any, Any] = {
    "svg.hashsalt": "uadbench",
    "svg.fonttype": "none",
    "text.parse_math": False,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "axes.edgecolor": SOFT,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "grid.color": GRID,
    "font.size": 10,
    "legend.frameon": False,
    "legend.fontsize": 9,
}


@dataclass(frozen=True)
class Drawing:
    """A figure.

    Attributes:
        name: File name without suffix.
        title: Title.
        caption: Caption.
        svg: The figure.
        csv: The data behind it.
    """

    name: str
    title: str
    caption: str
    svg: str
    csv: str


@contextmanager
def style() -> Generator[None]:
    """Draws in the style of the site without changing global state."""
    with sns.axes_style("whitegrid"), mpl.rc_context(_SVG):
        yield


def axes_of(height: float, width: float = WIDTH) -> tuple[Figure, Axes]:
    """Returns a figure of the given size in inches with one pair of axes."""
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots()


def colours(count: int) -> list[Any]:
    """Returns this many colour-blind safe colours; they repeat, so markers must distinguish the rest."""
    return [tuple(colour) for colour in sns.color_palette("colorblind", count)]


def short(text: str, limit: int = 40) -> str:
    """Returns text that fits beside an axis."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def to_svg(figure: Figure) -> str:
    """Returns the figure as SVG that adapts to a dark colour scheme."""
    stream = io.StringIO()
    FigureCanvasSVG(figure).print_svg(stream, metadata={"Date": None, "Creator": None})
    rules = "".join(
        f'[style*="fill: {light}"]{{fill:{dark}!important}}[style*="stroke: {light}"]{{stroke:{dark}!important}}'
        for light, dark in _DARK.items()
    )
    dark_style = f"<style>@media (prefers-color-scheme: dark){{{rules}}}</style>"
    # At the end, so that programs without @media support show the light figure.
    return stream.getvalue().replace("<defs>", f"{dark_style}\n <defs>", 1)


def to_csv(frame: pd.DataFrame) -> str:
    """Returns data as CSV; text cells must be safe for spreadsheets already (``escape.csv_cell``)."""
    return frame.to_csv(index=False, lineterminator="\n", float_format="%.6g")


def legend_beside(axes: Axes, title: str | None = None) -> None:
    """Places the legend to the right of the axes, where it covers nothing."""
    axes.legend(title=title, loc="upper left", bbox_to_anchor=(1.01, 1))


def unit_limits(values: Sequence[float], *, pad: float = 0.03) -> tuple[float, float]:
    """Returns limits from 0 to a little above the largest share, at most 1."""
    top = max(values, default=1.0)
    return 0.0, min(1.0, max(0.1, top * 1.15)) + pad
