"""The page of a study: static HTML with local figures and no scripts."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from optuna.trial import TrialState

from uadbench.core.files import atomic_text
from uadbench.tuning.plots import MEASURES, draw_study, table
from uadbench.tuning.result import Outcome, slot_of
from uadbench.tuning.task import StudyTask


def write_page(task: StudyTask, definition: Mapping[str, Any], found: Outcome) -> Path:
    """Writes ``index.html``, its figures and ``trials.csv`` into the study's folder; returns the HTML file.

    All text from a study is escaped; the address of the storage is not shown.
    """
    folder = task.folder
    drawings = list(draw_study(task, found))
    for drawing in drawings:
        atomic_text(folder / f"{drawing.name}.svg", drawing.svg)
    frame = table(task, found.trials)
    text = frame.select_dtypes(include=["object", "string"]).columns
    cells = frame.assign(**{name: [_csv_cell(str(value)) for value in frame[name]] for name in text})
    atomic_text(folder / "trials.csv", cells.to_csv(index=False, lineterminator="\n"))
    template = Environment(
        loader=PackageLoader("uadbench.tuning"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    ).get_template("study.html")
    best = found.best
    html = template.render(
        task=task,
        definition=definition,
        measure=MEASURES[task.measure],
        found=found,
        counts={state.name.lower(): found.count(state) for state in TrialState if found.count(state)},
        config={} if best is None else json.loads(best.user_attrs["config"]),
        best_slot=None if best is None else slot_of(best),
        drawings=drawings,
        columns=list(frame.columns),
        rows=[[_cell(value) for value in row] for row in frame.itertuples(index=False)],
    )
    return atomic_text(folder / "index.html", html)


def _cell(value: object) -> str:
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.4g}"
    return str(value)


def _csv_cell(text: str) -> str:
    """Text that a spreadsheet does not interpret as a formula."""
    return f"'{text}" if text.lstrip().startswith(("=", "+", "-", "@")) else text
