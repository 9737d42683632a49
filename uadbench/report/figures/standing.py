"""Standing over all datasets of a matrix: mean rank and win rate of each method, with intervals over patients."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy import stats

from uadbench.core.seeding import numpy_generator
from uadbench.records.read import Entry
from uadbench.report.escape import csv_cell
from uadbench.report.figures.drawing import SOFT, WIDTH, Drawing, colours, short, style, to_csv, to_svg
from uadbench.report.tables.matrix import FLOOR, METHODS, Line, Matrix
from uadbench.report.tables.patients import MIN_PATIENTS, patient_values

Floats = NDArray[np.float64]
RESAMPLES = 2000


def draw_standing(matrix: Matrix, records: Mapping[str, Entry]) -> Drawing | None:
    """Returns mean ranks and win rates of the rows that are ranked on every dataset of a matrix.

    Patients are resampled within each dataset. A method's win rate is the share of pairs of another row and a patient
    in which its case AP is larger (equal values count half), averaged over the datasets.

    Args:
        matrix: The matrix.
        records: Entries by id.

    Returns:
        The figure; None with fewer than two such rows, without their tables of cases or with too few patients.
    """
    blocks = [block for block in matrix.blocks if block.title in (METHODS, FLOOR)]
    known = [(line, block.title == FLOOR) for block in blocks for line in block.lines if line.mean_rank is not None]
    tables = _tables([line for line, _ in known], records)
    if len(known) < 2 or tables is None:
        return None
    draws = [_resampled(i, table) for i, table in enumerate(tables)]
    frame = pd.DataFrame(
        {
            "method": [csv_cell(line.name) for line, _ in known],
            "kind": ["trivial baseline" if trivial else "method" for _, trivial in known],
            **_with_interval("mean_rank", [_ranks(draw) for draw in draws]),
            **_with_interval("win_rate", [_wins(table, draw) for table, draw in zip(tables, draws, strict=True)]),
        }
    ).sort_values(["mean_rank", "method"], kind="stable", ignore_index=True)
    return Drawing(
        name=f"standing-{matrix.preset}-{matrix.source}",
        title="Mean rank and win rate over the datasets",
        caption="By case AP over all rows without lesion labels that are ranked on every dataset; bars are 95 % "
        "intervals over patients, resampled within each dataset. With few datasets this describes only these.",
        svg=_draw(frame),
        csv=to_csv(frame),
    )


def _tables(lines: list[Line], records: Mapping[str, Entry]) -> list[Floats] | None:
    """Returns case AP as (patients, rows) for each dataset; None if a table is missing or has too few patients."""
    tables: list[Floats] = []
    for cells in zip(*(line.cells for line in lines), strict=True):
        found: list[pd.Series[float]] = []
        for cell in cells:
            keys = [] if cell is None else cell.row.records
            values = patient_values("ap", [records[key] for key in keys])
            if values is None or len(values) < MIN_PATIENTS or (found and not values.index.equals(found[0].index)):
                return None
            found.append(values)
        tables.append(np.array(found, dtype=np.float64).T)
    return tables


def _resampled(dataset: int, table: Floats) -> tuple[Floats, NDArray[np.int64]]:
    """Returns row means of the original patients and of each resample (1 + resamples, rows), and the drawn patients."""
    n = len(table)
    drawn = numpy_generator("standing", dataset).integers(0, n, (RESAMPLES, n))
    index = np.concatenate([np.arange(n)[None], drawn])
    return table[index].mean(axis=1), index


def _ranks(draw: tuple[Floats, NDArray[np.int64]]) -> Floats:
    # Rounded, so that equal rows tie on every machine.
    return stats.rankdata(-draw[0].round(9), method="min", axis=1)


def _wins(table: Floats, draw: tuple[Floats, NDArray[np.int64]]) -> Floats:
    """Returns the win rate of each row in each resample."""
    wins = (table[:, :, None] > table[:, None, :]) + 0.5 * (table[:, :, None] == table[:, None, :])
    rate = (wins.sum(axis=2) - 0.5) / (table.shape[1] - 1)  # without the row itself
    return rate[draw[1]].mean(axis=1)


def _with_interval(name: str, values: list[Floats]) -> dict[str, Floats]:
    """Returns the mean over datasets with its percentile interval."""
    mean = np.mean(values, axis=0)
    low, high = np.quantile(mean[1:], [0.025, 0.975], axis=0)
    return {name: mean[0], f"{name}_low": low, f"{name}_high": high}


def _draw(frame: pd.DataFrame) -> str:
    at = np.arange(len(frame))
    palette: dict[str, Any] = dict(zip(("method", "trivial baseline"), colours(2), strict=True))
    with style():
        figure = Figure(figsize=(1.1 * WIDTH, 1.2 + 0.28 * len(frame)), layout="constrained")
        both = figure.subplots(1, 2, sharey=True)
        for axes, (key, title) in zip(both, (("mean_rank", "mean rank"), ("win_rate", "win rate")), strict=True):
            axes.hlines(at, frame[f"{key}_low"], frame[f"{key}_high"], color=SOFT, linewidth=2)
            for kind, marker in (("method", "o"), ("trivial baseline", "D")):
                part = frame[frame["kind"] == kind]
                axes.scatter(part[key], part.index, marker=marker, s=45, color=[palette[kind]], label=kind, zorder=3)
            axes.set(xlabel=title, ylim=(len(frame) - 0.4, -0.6))
            axes.grid(visible=False, axis="y")
        both[0].set_yticks(at, [short(str(name), 28) for name in frame["method"]])
        both[0].set_xlim(left=0.5)
        both[1].set_xlim(0, 1)
        both[0].legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2)
        return to_svg(figure)
