"""``uadbench show-config``: every value of a method's config with its origin."""

from __future__ import annotations

import json as json_
from typing import TYPE_CHECKING, Annotated, Any

import typer

from uadbench.cli.terminal.console import to_stdout
from uadbench.core.errors import UnknownName

if TYPE_CHECKING:
    from uadbench.core.config import MethodConfig
    from uadbench.core.published import Applied


def show_config(
    method: Annotated[str, typer.Option(help="Method name (see: uadbench list methods).")],
    dataset: Annotated[str, typer.Option(help="Dataset name (see: uadbench list datasets).")],
    source: Annotated[str, typer.Option(help="'phantom' or a folder written by uadbench prepare.")] = "phantom",
    preset: Annotated[str, typer.Option(help="smoke, quick, standard or paper.")] = "quick",
    tuned: Annotated[bool, typer.Option("--tuned", help="Use experiments/tuned/METHOD/DATASET.yaml.")] = False,
    set_: Annotated[list[str] | None, typer.Option("--set", help="Config value key=value.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Prints each config value of a run and its origin: default, preset, published, tuned or set."""
    from uadbench.core.catalog import DATASETS, METHODS
    from uadbench.core.config import PRESET_NAMES, parse_overrides
    from uadbench.runner.planning.tuned_config import load_tuned

    if preset not in PRESET_NAMES:
        raise UnknownName("preset", preset, PRESET_NAMES)
    card = DATASETS.load(dataset).card
    kind = METHODS.load(method).config_type
    modality, polarity = (card.organ_modality, card.polarity) if source == "phantom" else _told(dataset, source)
    published = kind.published(preset, modality, polarity)
    layers = {
        "preset": kind.PRESETS.get(preset, {}),
        "published": published.values,
        "tuned": load_tuned(method, dataset).config if tuned else {},
        "set": parse_overrides(set_ or []),
    }
    config = kind.resolve(preset, layers["tuned"], layers["set"], published.values)
    origins = {key: next((name for name in reversed(layers) if key in layers[name]), "default") for key in _keys(kind)}
    values = config.model_dump(mode="json")
    if json:
        told = {key: {"value": values[key], "origin": origin} for key, origin in origins.items()}
        to_stdout().out(json_.dumps({"config": told}, indent=1), highlight=False)
        return
    _print(values, origins, published)


def _told(dataset: str, source: str) -> tuple[str, int]:
    """Returns modality and polarity of a prepared folder."""
    from uadbench.core.dataset import no_progress
    from uadbench.runner.planning.datasets import open_source

    head = open_source(dataset, source, no_progress).manifest
    return head.modality, head.polarity


def _keys(kind: type[MethodConfig]) -> list[str]:
    return list(kind.model_fields)


def _print(values: dict[str, Any], origins: dict[str, str], published: Applied) -> None:
    from rich.table import Table

    table = Table("key", "value", "origin", box=None)
    for key, origin in origins.items():
        table.add_row(key, str(values[key]), origin)
    to_stdout().print(table)
    if published.origin:
        to_stdout().out(f"published: {published.origin}", highlight=False)
