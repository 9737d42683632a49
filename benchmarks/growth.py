"""Scaling of the cost: python -m benchmarks.growth [--device cpu|cuda] [--small] [--draw] [--out docs/images]

Rate and peak memory of Synomaly (prediction, training), of the pixel metrics and of a worker, against one size at a
time, each point in a fresh process. Writes ``growth.csv`` and one figure per axis, and prints the exponents fitted on a
log-log scale: 1 means in proportion, 0 that the size does not matter. ``--draw`` measures nothing and draws the CSV
again; ``--small`` takes two small sizes per axis, to try the command itself.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
import torch
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, FuncFormatter, LogLocator

from benchmarks.growth_point import Axis, Point, Work
from benchmarks.support.ratios import machine
from uadbench.report.figures.drawing import MARKERS, WIDTH, colours, style, to_csv, to_svg

LABELS: dict[Axis, str] = {
    "batch": "images a batch",
    "size": "side of the image, pixels",
    "width": "channels of the finest level",
    "stages": "stages, one network call each",
    "pixels": "test pixels",
    "jobs": "jobs that one worker runs",
}
RATES: dict[Axis, str] = {"pixels": "pixels per second", "jobs": "jobs per second"}
WORKS: dict[Axis, tuple[Work, ...]] = {
    "batch": ("prediction", "training"),
    "size": ("prediction", "training"),
    "width": ("prediction", "training"),
    "stages": ("prediction",),
    "pixels": ("metrics",),
    "jobs": ("suite",),
}
# The network of preset quick, as far as two cores get in some minutes.
SIZES: dict[Axis, tuple[int, ...]] = {
    "batch": (1, 4, 16, 64),
    "size": (64, 128, 256, 512),
    "width": (16, 32, 64, 128),
    "stages": (1, 2, 4, 8, 16),
    "pixels": (2**17, 2**20, 2**23, 2**26),
    "jobs": (1, 4, 16),
}
# The network of the papers, for a GPU.
LARGE: dict[Axis, tuple[int, ...]] = {
    **SIZES,
    "batch": (1, 4, 16, 64, 256),
    "width": (32, 64, 128, 256),
    "pixels": (2**20, 2**23, 2**26, 2**29),
    "jobs": (1, 4, 16, 64),
}
SMALL: dict[Axis, tuple[int, ...]] = {
    "batch": (1, 2),
    "size": (32, 64),
    "width": (16, 32),
    "stages": (1, 2),
    "pixels": (2**16, 2**17),
    "jobs": (1, 2),
}


def points(device: str, *, small: bool = False) -> Iterator[Point]:
    """Yields what is to be measured: the papers' network on a GPU, that of preset ``quick`` on a CPU."""
    gpu = device != "cpu"
    for axis, sizes in (SMALL if small else LARGE if gpu else SIZES).items():
        for work in WORKS[axis]:
            for value in sizes:
                yield Point(axis, work, value, "paper" if gpu and not small else "quick", device)


def measured(point: Point) -> dict[str, Any]:
    """Measures a point in a separate process.

    Raises:
        CalledProcessError: If the point fails.
    """
    command = [sys.executable, "-m", "benchmarks.growth_point", json.dumps(asdict(point))]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def exponent(sizes: pd.Series[int], values: pd.Series[float]) -> float:
    """Returns p of values = c * sizes ** p, by least squares on a log-log scale."""
    return float(np.polyfit(np.log(sizes), np.log(values), 1)[0])


def exponents(frame: pd.DataFrame) -> pd.DataFrame:
    """Returns the exponents of each axis and work, over all sizes and over the two largest."""
    rows: list[dict[str, Any]] = []
    for (axis, work), part in frame.groupby(["axis", "work"], sort=False):
        row: dict[str, Any] = {"axis": axis, "work": work, "from": part["value"].min(), "to": part["value"].max()}
        for name, column in (("rate", "per_second"), ("memory", "added_mib")):
            row[name] = exponent(part["value"], part[column])
            row[f"{name}_at_the_end"] = exponent(part["value"][-2:], part[column][-2:])
        rows.append(row)
    return pd.DataFrame(rows)


def _tick(value: float, _: int) -> str:
    return f"{value:g}" if value < 1000 else EngFormatter()(value)


def draw(frame: pd.DataFrame, axis: Axis) -> str:
    """Returns the figure of an axis as SVG: rate on the left, memory on the right, with fitted lines."""
    part = frame[frame["axis"] == axis]
    works = list(part["work"].unique())
    with style():
        figure = Figure(figsize=(WIDTH, 3), layout="constrained")
        for axes, column in zip(figure.subplots(1, 2), ("per_second", "added_mib"), strict=True):
            for work, colour, marker in zip(works, colours(len(works)), MARKERS, strict=False):
                rows = part[part["work"] == work]
                slope = exponent(rows["value"], rows[column])
                sizes, values = np.log(rows["value"]), np.log(rows[column])
                fitted = np.exp(values.mean() + slope * (sizes - sizes.mean()))
                axes.plot(rows["value"], fitted, color=colour, linewidth=1)
                label = f"{work}, exponent {slope:.2f}"
                sns.scatterplot(x=rows["value"], y=rows[column], ax=axes, color=colour, marker=marker, label=label)
            axes.set(xscale="log", yscale="log", xlabel=LABELS[axis])
            axes.set_ylabel(RATES.get(axis, "images per second") if column == "per_second" else "MiB at the peak")
            axes.set_xticks(sorted(set(part["value"])))
            axes.xaxis.set_major_formatter(EngFormatter(places=0))
            axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.yaxis.set_major_formatter(FuncFormatter(_tick))
            axes.minorticks_off()
            axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1))
        return to_svg(figure)


def main() -> None:
    """Measures, writes and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--draw", action="store_true")
    parser.add_argument("--out", type=Path, default=Path("docs/images"))
    options = parser.parse_args()
    table = options.out / "growth.csv"
    if not options.draw:
        print(machine(), flush=True)
        rows: list[dict[str, Any]] = []
        for point in points(options.device, small=options.small):
            row = measured(point)
            rows.append(row)
            label = f"{point.work}, {LABELS[point.axis]}: {point.value}"
            print(f"{label:<55} {row['per_second']:>12.4g}/s {row['added_mib']:>9.1f} MiB", flush=True)
        options.out.mkdir(parents=True, exist_ok=True)
        table.write_text(to_csv(pd.DataFrame(rows)))
    frame = pd.read_csv(table)
    for axis in frame["axis"].unique():
        (options.out / f"growth_{axis}.svg").write_text(draw(frame, axis))
    print(exponents(frame).to_string(index=False, float_format=lambda value: f"{value:.2f}"))


if __name__ == "__main__":
    main()
