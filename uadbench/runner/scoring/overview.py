"""overview.png: input, reconstruction, raw map, mask and truth for the best, median and worst cases."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from uadbench.evaluation.cases import CaseMaps, Cases

COLUMNS = ("input", "reconstruction", "raw map", "prediction", "truth")


class Overview(Figure):
    """A figure that a notebook displays without a plotting backend."""

    def _repr_png_(self) -> bytes:
        stream = io.BytesIO()
        self.savefig(stream, format="png", dpi=80, metadata={"Software": None})
        return stream.getvalue()


def draw_overview(path: Path, cases: Cases, table: pd.DataFrame, threshold: float | None) -> None:
    """Draws three lesion cases by AP (best, median, worst) and the healthy case with the highest image score.

    Args:
        path: PNG to write.
        cases: Test cases.
        table: One row per case with columns ``case``, ``ap``, ``image_score`` and ``lesion``.
        threshold: Headline threshold for the prediction column, None if there is none.
    """
    overview_figure(cases, table, threshold).savefig(path, dpi=110, metadata={"Software": None})


def overview_figure(cases: Cases, table: pd.DataFrame, threshold: float | None) -> Overview:
    """Returns the figure that ``draw_overview`` writes; arguments as there."""
    position = {cases[i].case: i for i in range(len(cases))}
    rows = [(label, cases[position[case]]) for label, case in _choose(table)]
    height = 2.1 * len(rows) + 0.3
    figure = Overview(figsize=(2.1 * len(COLUMNS), height))
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(rows), len(COLUMNS), squeeze=False)
    figure.subplots_adjust(left=0.055, right=0.998, bottom=0.004, top=1 - 0.3 / height, wspace=0.02, hspace=0.02)
    for row, (label, case) in enumerate(rows):
        _draw_row(list(axes[row]), label, case, threshold)
    for column, name in enumerate(COLUMNS):
        axes[0][column].set_title(name, fontsize=9)
    return figure


def _choose(table: pd.DataFrame) -> list[tuple[str, str]]:
    lesions = table[table["lesion"] & table["ap"].notna()].sort_values("ap", ascending=False)
    chosen: list[tuple[str, str]] = []
    for name, place in (("best", 0), ("median", len(lesions) // 2), ("worst", len(lesions) - 1)):
        if 0 <= place < len(lesions):
            row = lesions.iloc[place]
            chosen.append((f"{name}\nAP {row['ap']:.2f}", str(row["case"])))
    healthy = table[~table["lesion"]].sort_values("image_score", ascending=False)
    if len(healthy):
        chosen.append(("healthy,\nhighest score", str(healthy.iloc[0]["case"])))
    return chosen


def _draw_row(axes: list[Axes], label: str, case: CaseMaps, threshold: float | None) -> None:
    truth = np.zeros_like(case.body) if case.mask is None else case.mask == 1
    areas = truth.sum(axis=(1, 2))
    slice_ = int(areas.argmax()) if areas.any() else len(areas) // 2
    body = case.body[slice_]
    anomaly = np.where(body, case.maps[slice_], np.nan)
    if case.image is not None:
        for column in (0, 3, 4):
            axes[column].imshow(case.image[slice_], cmap="gray", vmin=-1, vmax=1)
    if case.reconstruction is not None:
        axes[1].imshow(case.reconstruction[slice_], cmap="gray", vmin=-1, vmax=1)
    else:
        axes[1].set_box_aspect(body.shape[0] / body.shape[1])  # as its neighbours
        axes[1].text(0.5, 0.5, "none", ha="center", va="center", transform=axes[1].transAxes, fontsize=8)
    axes[2].imshow(anomaly, cmap="magma")
    if threshold is not None:
        _outline(axes[3], (case.maps[slice_] > threshold) & body, "tab:orange")
    _outline(axes[4], truth[slice_], "tab:cyan")
    for axis in axes:
        axis.set_xticks([])
        axis.set_yticks([])
    axes[0].set_ylabel(f"{label}\n{case.kind}".strip(), fontsize=8)


def _outline(axis: Axes, mask: np.ndarray, colour: str) -> None:
    if mask.any():
        axis.contour(mask.astype(float), levels=[0.5], colors=[colour], linewidths=1.0)
