"""The full table of metrics of a run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from uadbench.core.errors import REMAKE, DataError, harmless
from uadbench.core.reading import read_json
from uadbench.core.record import Metric, Record
from uadbench.records.gaps import Gaps, Ladder
from uadbench.records.words import metric_words, rule_words

LADDER = ("erosion", "blur", "median", "smallest")
SECONDARY = ("iou", "precision", "recall", "healthy_fp_fraction")


def print_record(console: Console, record: Record, baselines: Sequence[Record], folder: Path) -> None:
    """Prints every metric with interval and rule, the best trivial baseline, cost and files."""
    record = Record.model_validate(_harmless(record.model_dump()))
    data = record.test_on or record.dataset
    label, version, preset = map(escape, (record.method.label, data.version, record.method.preset))
    console.print(
        f"\n[bold]{label}[/bold] on [bold]{escape(data.name)}[/bold] ({data.source}, v{version}), "
        f"protocol {escape(record.protocol.name)}, preset {preset}, seed {record.seed}"
    )
    for note in data.notes:
        console.print(f"Note: {note}", style="yellow", markup=False)
    table = Table(caption="False positives: pixels of healthy calibration patients above the threshold.")
    columns = ("metric", "value", "95 % interval (patients)", "ceiling", "best trivial")
    for name, justify in zip(columns, ("left", "right", "left", "right", "left"), strict=True):
        # Metrics are written in words, which wrap on a narrow terminal; numbers never wrap.
        table.add_column(name, justify=justify, overflow="fold", no_wrap=name in ("value", "ceiling"))
    shown = {key: metric for key, metric in record.metrics.items() if _is_shown(key, record)}
    undefined = [key for key, metric in shown.items() if metric.value is None]
    for key, metric in shown.items():
        if metric.value is None:
            continue
        ceiling = "" if metric.ceiling is None else f"{metric.ceiling:.3f}"
        table.add_row(
            escape(metric_words(key)), _number(metric.value), _interval(metric), ceiling, _best(key, metric, baselines)
        )
    console.print(table)
    if len(shown) < len(record.metrics):
        console.print("record.json also has IoU, precision, recall and false positives at the other rules.")
    if undefined:
        console.print(
            f"Undefined on these data: {'; '.join(metric_words(key) for key in undefined)}.",
            highlight=False,
            markup=False,
        )
    key = record.metrics.get("case_ap")
    best = _best_value("case_ap", True, baselines)
    if key is not None and key.value is not None and best is not None and key.value <= best[0]:
        console.print(f"This row does not beat the trivial baseline '{best[1]}' by case AP.", style="bold red")
    _print_gaps(console, _read(folder / "gaps.json"))
    _print_ladder(console, _read(folder / "ladder.json"))
    if record.cost is not None:
        cost = record.cost
        console.print(
            f"Training {cost.train_s:.0f} s, prediction {cost.predict_ms_per_image:.1f} ms per image, "
            f"{cost.parameters / 1e6:.2f} M parameters, peak {cost.peak_gb:.2f} GB, "
            f"{record.env.precision} on {record.env.device}.",
            markup=False,
        )
    weights = ", weights.safetensors" if "weights.safetensors" in record.hashes else ""
    console.print(f"Files: {folder}/ (record.json, cases.csv, overview.png, maps/{weights})")


def _read(file: Path) -> dict[str, Any]:
    """Returns a table of a record; empty if an older version wrote none."""
    content = read_json(file, finite=False) if file.exists() else None
    kind = Gaps if file.name == "gaps.json" else Ladder
    try:
        return {} if content is None else {**_harmless(kind.model_validate(content).model_dump(by_alias=True), escape)}
    except ValueError as error:
        raise DataError(f"{file} is damaged.", REMAKE) from error


def _harmless(value: Any, mark: Callable[[str], str] = str) -> Any:
    """Returns plain values whose texts are harmless on a terminal; ``mark`` quotes what would be markup."""
    if isinstance(value, dict):
        return {_harmless(key): _harmless(part, mark) for key, part in value.items()}
    if isinstance(value, list):
        return [_harmless(part, mark) for part in value]
    return mark(harmless(value)) if isinstance(value, str) else value


def _print_gaps(console: Console, gaps: dict[str, Any]) -> None:
    """Prints the loss due to a label-free threshold, and the effect of each choice in published protocols."""
    oracle, protocol = gaps.get("oracle_gap"), gaps.get("protocol_gap")
    if oracle:
        rule = rule_words(oracle["honest_rule"])
        console.print(
            f"Oracle gap, Dice at the oracle threshold minus Dice at {rule}: {_change(oracle)}", highlight=False
        )
    if protocol:
        table = Table(title=f"Protocol gap, {protocol['from']} to {protocol['to']}, one choice at a time")
        for name in ("choice", "Dice", "change", "AP", "change"):
            table.add_column(name, justify="left" if name == "choice" else "right")
        start = protocol["start"]
        table.add_row("as scored here", f"{start['dice']:.3f}", "", f"{start['ap']:.3f}", "")
        for step in protocol["steps"]:
            change = step["change"]
            numbers = (f"{step['dice']:.3f}", f"{change['dice']:+.3f}", f"{step['ap']:.3f}", f"{change['ap']:+.3f}")
            table.add_row(step["choice"], *numbers)
        console.print(table)


def _print_ladder(console: Console, ladder: dict[str, Any]) -> None:
    """Prints the gain of each post-processing step on test, with parameters not chosen on test."""
    if not ladder:
        return
    table = Table(title=f"Post-processing, chosen on {ladder['tuned_on']}, Dice, {rule_words(ladder['rule'])}")
    for name in ("step", "parameters", "Dice", "gain (95 %)", "AP", "gain (95 %)"):
        table.add_column(name, justify="left" if name in ("step", "parameters") else "right")
    for step in ladder["steps"]:
        chosen = ", ".join(f"{key} {step[key]:g}" for key in LADDER if step[key])
        cells: list[str] = []
        for name in ("dice", "ap"):
            value, gain = step[f"test_{name}"]["value"], step.get(f"test_{name}_gain")
            cells += [_number(value), _change(gain) if gain else ""]
        table.add_row(step["step"], chosen or "none", *cells)
    console.print(table)


def _change(gap: dict[str, Any]) -> str:
    if gap["value"] is None:
        return "undefined"
    ends = "" if gap["low"] is None else f" ({gap['low']:+.3f} to {gap['high']:+.3f})"
    return f"{gap['value']:+.3f}{ends}"


def _is_shown(key: str, record: Record) -> bool:
    """Whether a metric is in the table: secondary metrics only at the headline rule."""
    headline = record.metrics.get("healthy_fp_fraction")
    name, _, rule = key.partition("@")
    return name not in SECONDARY or not rule or headline is None or rule == headline.rule


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _interval(metric: Metric) -> str:
    if metric.low is None or metric.high is None:
        return f"too few ({metric.n_patients})"
    return f"{metric.low:.3f} to {metric.high:.3f} ({metric.n_patients})"


def _best(key: str, metric: Metric, baselines: Sequence[Record]) -> str:
    best = _best_value(key, metric.higher_is_better, baselines)
    return "" if best is None else f"{best[0]:.3f} {best[1]}"


def _best_value(key: str, higher: bool, baselines: Sequence[Record]) -> tuple[float, str] | None:
    found = [
        (row.metrics[key].value, row.method.name)
        for row in baselines
        if row.status == "done" and key in row.metrics and row.metrics[key].value is not None
    ]
    values = [(value, name) for value, name in found if value is not None]
    return (max if higher else min)(values) if values else None
