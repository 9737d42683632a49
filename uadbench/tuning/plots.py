"""Figures of a study, drawn from its trials: SVG files with real text."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import matplotlib as mpl
import numpy as np
import optuna
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from optuna.trial import FrozenTrial, TrialState

from uadbench.tuning.result import Outcome, feasible, mean_interval, slot_of
from uadbench.tuning.storage import quiet
from uadbench.tuning.task import StudyTask

_SVG: dict[Any, Any] = {"svg.hashsalt": "uadbench", "svg.fonttype": "none", "text.parse_math": False}
# Parameters with a curve of their own: noise scale, noise strength, number of stages.
CURVES = ("sigma", "noise_std", "noise_cells", "frequency", "t", "stages")
MEASURES = {"ap": "case AP", "dice": "Dice at 1 % healthy FPR"}
LOST = "its workers died"
FEW = 4  # minimum number of different trials for statements on parameters
PAIRS = 3  # contour plots, of the most important parameters


@dataclass(frozen=True)
class Drawing:
    """A figure.

    Attributes:
        name: File name without suffix.
        title: Title.
        caption: Caption.
        svg: The figure.
    """

    name: str
    title: str
    caption: str
    svg: str


def draw_study(task: StudyTask, found: Outcome) -> Iterator[Drawing]:
    """Yields the figures for which there are enough trials."""
    frame = table(task, found.trials)
    complete = frame[frame["state"] == "COMPLETE"]
    yield Drawing(
        "history",
        "Optimisation history",
        "Each trial in the order of its slot; the line is the best so far. Crosses: pruned or failed.",
        _history(frame, MEASURES[task.measure], found),
    )
    if task.with_time and len(complete):
        yield Drawing("time", "Quality against time", "Up and to the left is better.", _against_time(complete, task))
    names = [name for name in _varied(complete) if name in frame.columns]
    if len(complete) < FEW or not names:
        return
    weights = importances(task, found.trials)
    if weights:
        yield Drawing(
            "importance",
            "Parameter importance",
            "Share of the objective's variance over the trials (fANOVA). Few trials give a rough picture.",
            _bars(weights),
        )
    yield Drawing(
        "slices",
        "Slices",
        "Every trial, one panel per parameter; darker is later.",
        _slices(complete, names, _logs(found.trials)),
    )
    # Rounded, ties by name, so that equal trials give equal figures on every machine.
    ranked = sorted((name for name in weights if name in names), key=lambda name: (-round(weights[name], 6), name))
    ranked = ranked or sorted(names)
    for left, right in list(combinations(ranked[:PAIRS], 2)):
        yield Drawing(
            f"contour-{left}-{right}",
            f"{left} and {right}",
            "Objective interpolated between the trials (points), for all values of the other parameters.",
            _contour(complete, left, right, MEASURES[task.measure], _logs(found.trials)),
        )
    for name in CURVES:
        if name in names:
            yield Drawing(
                f"curve-{name}",
                f"Against {name}",
                "For each value the best trial, by the study's measure, with the 95 % interval over patients (none "
                "with fewer than 10). Dots: the other trials.",
                _curve(task, found.trials, name),
            )


def table(task: StudyTask, trials: Sequence[FrozenTrial]) -> pd.DataFrame:
    """Returns one row per trial: slot, state, objective, both measures, time, and its parameters."""
    rows: list[dict[str, Any]] = []
    for trial in trials:
        done = trial.state == TrialState.COMPLETE
        row: dict[str, Any] = {
            "slot": slot_of(trial),
            "state": trial.state.name,
            "value": trial.values[0] if done else math.nan,
            "feasible": done and feasible(trial),
            "healthy_fp": trial.user_attrs.get("healthy_fp", math.nan),
            "reason": trial.user_attrs.get("reason", LOST if trial.state == TrialState.FAIL else ""),
        }
        for measure in MEASURES:
            row[measure] = _mean(trial, measure) if done else math.nan
        if task.with_time:
            row["ms_per_image"] = trial.values[1] if done else math.nan
        rows.append({**row, **trial.params})
    return pd.DataFrame(rows)


def importances(task: StudyTask, trials: Sequence[FrozenTrial]) -> dict[str, float]:
    """Returns the importance of the parameters that all trials share, largest first; empty if undefined.

    The random forest depends on the order of the trials. In the database they are ordered by start time, which
    differs if a study was resumed: here they are ordered by slot.
    """
    complete = [trial for trial in sorted(trials, key=slot_of) if trial.state == TrialState.COMPLETE]
    if len({trial.values[0] for trial in complete}) < 2:
        return {}
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
    target = _quality if task.with_time else None
    with quiet():
        study = optuna.create_study(directions=["maximize", "minimize"] if task.with_time else ["maximize"])
        study.add_trials(complete)
        try:
            return dict(optuna.importance.get_param_importances(study, evaluator=evaluator, target=target))
        except (ValueError, RuntimeError):  # no parameter is shared by all trials, or none varies
            return {}


def _quality(trial: FrozenTrial) -> float:
    return trial.values[0]


def _mean(trial: FrozenTrial, measure: str) -> float:
    return float(np.mean(list(trial.user_attrs[measure].values())))


def _varied(complete: pd.DataFrame) -> list[str]:
    """Parameters with at least two values among the finished trials."""
    start = list(complete.columns).index("dice") + 1
    names = [name for name in complete.columns[start:] if name != "ms_per_image"]
    return [name for name in names if complete[name].dropna().nunique() > 1]


def _history(frame: pd.DataFrame, label: str, found: Outcome) -> str:
    figure, axes = _figure(8, 3.6)
    complete = frame[frame["state"] == "COMPLETE"]
    sns.scatterplot(data=complete, x="slot", y="value", ax=axes, color="0.35", s=40)
    best = complete.loc[complete["feasible"]]
    axes.step(best["slot"], best["value"].cummax(), where="post", color=sns.color_palette("colorblind")[0])
    if found.preset is not None:
        axes.axhline(found.preset.values[0], color="0.3", linestyle="--", linewidth=1, label="preset")
        axes.legend(frameon=False)
    lost = frame[frame["state"] != "COMPLETE"]
    if len(lost):
        base = complete["value"].min() if len(complete) else 0.0
        axes.scatter(lost["slot"], [base] * len(lost), marker="x", color="0.5")
    axes.set(xlabel="slot", ylabel=label)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    return _to_svg(figure)


def _against_time(complete: pd.DataFrame, task: StudyTask) -> str:
    figure, axes = _figure(8, 4)
    sns.scatterplot(data=complete, x="ms_per_image", y="value", ax=axes, color="0.35", s=50)
    axes.set(xscale="log", xlabel="ms per image", ylabel=MEASURES[task.measure])
    return _to_svg(figure)


def _bars(weights: dict[str, float]) -> str:
    figure, axes = _figure(8, 0.8 + 0.36 * len(weights))
    sns.barplot(x=list(weights.values()), y=list(weights), ax=axes, color=sns.color_palette("colorblind")[0])
    axes.set(xlabel="importance", ylabel="", xlim=(0, 1))
    return _to_svg(figure)


def _slices(complete: pd.DataFrame, names: Sequence[str], logs: set[str]) -> str:
    columns = min(4, len(names))
    rows = math.ceil(len(names) / columns)
    with sns.axes_style("whitegrid"), mpl.rc_context(_SVG):
        figure = Figure(figsize=(2.6 * columns, 2.4 * rows), layout="constrained")
        grid = figure.subplots(rows, columns, sharey=True, squeeze=False)
    for axes, name in zip(grid.flat, names, strict=False):
        part = complete.dropna(subset=[name])
        at, labels = _positions(part[name])
        axes.scatter(at, part["value"], c=part["slot"], cmap="Blues", edgecolors="0.4", linewidths=0.5, s=30)
        _label_axis(axes, name, labels, log=name in logs)
    for axes in grid.flat[len(names) :]:
        axes.set_visible(False)
    return _to_svg(figure)


def _contour(complete: pd.DataFrame, left: str, right: str, label: str, logs: set[str]) -> str:
    figure, axes = _figure(6, 4.4)
    part = complete.dropna(subset=[left, right])
    (x, x_labels), (y, y_labels) = _positions(part[left]), _positions(part[right])
    values = part["value"].to_numpy(float)
    points = pd.DataFrame({"x": x, "y": y, "v": values}).groupby(["x", "y"], as_index=False)["v"].mean()
    try:
        shown = axes.tricontourf(points["x"], points["y"], points["v"], levels=12, cmap="viridis")
    except (RuntimeError, ValueError):  # fewer than three points, or all on one line
        shown = axes.scatter(points["x"], points["y"], c=points["v"], cmap="viridis")
    axes.scatter(x, y, color="white", edgecolors="black", s=24, zorder=3)
    figure.colorbar(shown, ax=axes, label=label)
    _label_axis(axes, left, x_labels, log=left in logs)
    axes.set_ylabel(right)
    if right in logs:
        axes.set_yscale("log")
    if y_labels:
        axes.set_yticks(range(len(y_labels)), y_labels)
    return _to_svg(figure)


def _curve(task: StudyTask, trials: Sequence[FrozenTrial], name: str) -> str:
    """Both measures of the best trial at each value, with intervals over patients."""
    chosen: dict[Any, FrozenTrial] = {}
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE and name in trial.params]
    for trial in sorted(complete, key=lambda trial: trial.values[0]):
        chosen[trial.params[name]] = trial
    at, labels = _positions(pd.Series(sorted(chosen)))
    figure, axes = _figure(8, 4)
    for position, (measure, title) in enumerate(MEASURES.items()):
        colour = sns.color_palette("colorblind")[position]
        values: list[float] = []
        for x, key in zip(at, sorted(chosen), strict=True):
            patients = np.array(list(chosen[key].user_attrs[measure].values()))
            interval = mean_interval(patients, task.seed)
            values.append(float(patients.mean()))
            if interval.low is not None and interval.high is not None:
                axes.vlines(x, interval.low, interval.high, color=colour, alpha=0.6)
        sns.lineplot(x=at, y=values, ax=axes, color=colour, marker="o", label=title)
    every = pd.Series([trial.params[name] for trial in complete])
    places = dict(zip(sorted(chosen), at, strict=True))
    axes.scatter([places[key] for key in every], [trial.values[0] for trial in complete], color="0.6", s=12, zorder=1)
    _label_axis(axes, name, labels, log=name in _logs(trials))
    axes.set_ylabel("patient mean")
    axes.legend(frameon=False)
    return _to_svg(figure)


def _positions(values: pd.Series) -> tuple[np.ndarray, list[str]]:
    """Numbers unchanged; other values as 0, 1, ... with their names."""
    if pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values):
        return values.to_numpy(float), []
    names = sorted({str(value) for value in values})
    return np.array([names.index(str(value)) for value in values], float), names


def _logs(trials: Sequence[FrozenTrial]) -> set[str]:
    """Parameters that are sampled on a logarithmic scale."""
    return {name for trial in trials for name, space in trial.distributions.items() if getattr(space, "log", False)}


def _label_axis(axes: Axes, name: str, labels: list[str], *, log: bool) -> None:
    axes.set_xlabel(name)
    if labels:
        axes.set_xticks(range(len(labels)), labels)
    elif log:
        axes.set_xscale("log")


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    with sns.axes_style("whitegrid"), mpl.rc_context(_SVG):
        figure = Figure(figsize=(width, height), layout="constrained")
        return figure, figure.subplots()


def _to_svg(figure: Figure) -> str:
    stream = io.StringIO()
    with mpl.rc_context(_SVG):
        FigureCanvasSVG(figure).print_svg(stream, metadata={"Date": None, "Creator": None})
    return stream.getvalue()
