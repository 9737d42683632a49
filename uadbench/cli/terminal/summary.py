"""The summary at the end of a run: at most eight lines."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from uadbench.cli.terminal.standing import Standing
from uadbench.core.config import is_result
from uadbench.core.record import Metric, Record
from uadbench.evaluation.protocol.headline import DICE
from uadbench.records.words import metric_words

HEADLINE = ("case_ap", DICE, "pixel_auroc")
IMAGES = ("image_auroc", "image_ap")
"""What a test can say whose abnormal images have labels but no masks."""
FALSE_ALARMS = ("healthy_fp_fraction", "image_false_alarm_error")
"""What a test of healthy images alone can say."""


def print_summary(
    console: Console, record: Record, folder: Path, verdict: str, standing: Standing | None, notes: Iterable[str] = ()
) -> None:
    """Prints the headline metrics, the comparison, the cost and the files.

    Args:
        console: Console to print to.
        record: The run's record.
        folder: Its folder.
        verdict: Comparison with the best trivial baseline, in words.
        standing: Its rank among stored rows of the same question, None if there is none.
        notes: Additional text for the first line, e.g. that the run was already stored.
    """
    data = record.test_on or record.dataset
    title = f"[bold]{escape(record.method.label)}[/bold] on [bold]{data.name}[/bold] ({data.source} {data.version})"
    _line(console, "; ".join([f"{title}, preset {record.method.preset}, seed {record.seed}", *notes]))
    lesions, labels = _any_of(HEADLINE, record), _any_of(IMAGES, record)
    if record.metrics and not lesions:
        known = "only image scores and" if labels else "only"
        _line(console, f"  The test images have no lesion mask: {known} false alarms are measured.")
    for key in HEADLINE if lesions else (*(IMAGES if labels else ()), *FALSE_ALARMS):
        if key in record.metrics:
            name = metric_words(key, short=True).ljust(29 if lesions else 40)
            _line(console, f"  {name}[bold]{_value(record.metrics[key])}[/bold]{_rest(record.metrics[key])}")
    smoke = not is_result(record.method.preset)
    if smoke or lesions:
        _line(console, "Preset smoke is only a functional test and is never ranked." if smoke else escape(verdict))
    rank = "" if standing is None or smoke else f"Rank {standing.rank} of {standing.rows} stored rows by case AP. "
    cost = record.cost
    if cost is not None or rank:
        spent = "" if cost is None else f"Training {cost.train_s:.0f} s, {cost.predict_ms_per_image:.1f} ms per image."
        _line(console, rank + spent)
    shown = folder.name if folder.parent == Path("runs") else folder
    if record.folds:
        _line(console, f"Pooled from {len(record.folds)} folds: {', '.join(fold.record for fold in record.folds)}.")
    picture = folder / "overview.png"
    _line(console, f"{picture if picture.exists() else folder}; all metrics: uadbench show {shown}")


def _any_of(keys: Iterable[str], record: Record) -> bool:
    return any(record.metrics[key].value is not None for key in keys if key in record.metrics)


def _value(metric: Metric) -> str:
    return "undefined" if metric.value is None else f"{metric.value:.3f}"


def _rest(metric: Metric) -> str:
    if metric.value is None:
        return ""
    few = metric.low is None or metric.high is None
    interval = f"too few patients ({metric.n_patients})" if few else f"{metric.low:.3f} to {metric.high:.3f}"
    ceiling = "" if metric.ceiling is None else f", ceiling {metric.ceiling:.3f}"
    return f" ({interval}{ceiling})"


def _line(console: Console, text: str) -> None:
    # The terminal wraps a long line; rich would break a path in the middle.
    console.print(text, highlight=False, soft_wrap=True)
