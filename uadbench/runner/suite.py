"""Suites: methods x datasets x seeds x variants in one command.

There is no job table beside the runs: a run's lock says that it is in progress and its record that it ended, so any
number of workers on a shared folder may work through the same list, and a suite stopped anywhere goes on where it was.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from rich.console import Console

from uadbench.core.catalog import DATASETS, METHODS
from uadbench.core.dataset import Progress
from uadbench.core.errors import JobFailed, UnknownName, UserError
from uadbench.core.record import Record
from uadbench.runner.folder import RunFolder
from uadbench.runner.plan import Plan, plan_run
from uadbench.runner.run import execute
from uadbench.runner.sources import open_source

State = Literal["done", "stored", "failed", "in progress"]


class Suite(BaseModel):
    """What a suite file holds.

    Attributes:
        name: Name of the suite.
        preset: Preset of every method.
        protocol: Rules of scoring.
        seeds: Training seeds.
        methods: Registry names.
        datasets: Registry names; their phantoms are used unless ``sources`` says otherwise.
        sources: Prepared folder of a dataset.
        variants: Further rows of a method, each a set of config values.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    preset: str = "quick"
    protocol: str = "strict-v1"
    seeds: list[int] = Field(min_length=1)
    methods: list[str] = Field(min_length=1)
    datasets: list[str] = Field(min_length=1)
    sources: dict[str, str] = Field(default_factory=dict[str, str])
    variants: dict[str, list[dict[str, Any]]] = Field(default_factory=dict[str, list[dict[str, Any]]])


class Row(BaseModel):
    """One job of a suite before its data are open."""

    model_config = ConfigDict(frozen=True)

    method: str
    dataset: str
    seed: int
    overrides: dict[str, Any]


def load_suite(path: Path) -> Suite:
    """Reads a suite and checks every name in it.

    Raises:
        UserError: If the file is missing or malformed, a name is unknown, or a row stands there twice.
    """
    try:
        suite = Suite.model_validate(yaml.safe_load(path.read_text()))
    except FileNotFoundError as error:
        raise UserError(f"There is no suite {path}.", "Suites are in experiments/suites.") from error
    except (yaml.YAMLError, ValidationError, OSError) as error:
        raise UserError(f"{path} is no suite: {error}", "See experiments/suites/smoke.yaml.") from error
    for kind, registry, names in (("method", METHODS, suite.methods), ("dataset", DATASETS, suite.datasets)):
        for name in names:
            if name not in registry.names():
                raise UnknownName(kind, name, registry.names())
    for name, variants in suite.variants.items():
        if name not in suite.methods:
            raise UnknownName("method of variants", name, suite.methods)
        for values in variants:
            METHODS.load(name).config_type.resolve(suite.preset, None, values)
    seen: set[str] = set()
    for row in rows(suite):
        key = json.dumps(row.model_dump(), sort_keys=True)
        if key in seen:
            raise UserError(f"{path}: {row.method} {row.overrides or ''} seed {row.seed} stands there twice.")
        seen.add(key)
    return suite


def rows(suite: Suite) -> Iterator[Row]:
    """Yields the rows, seed by seed, so that a suite that is stopped early holds complete seeds."""
    for seed, dataset, method in product(suite.seeds, suite.datasets, suite.methods):
        for values in [{}, *suite.variants.get(method, [])]:
            yield Row(method=method, dataset=dataset, seed=seed, overrides=values)


def plans(suite: Suite, progress: Progress) -> list[Plan]:
    """Opens the data of a suite and plans every row."""
    stores = {name: open_source(name, suite.sources.get(name, "phantom"), progress) for name in suite.datasets}
    return [
        plan_run(
            method=row.method,
            train=stores[row.dataset],
            preset=suite.preset,
            protocol=suite.protocol,
            overrides=row.overrides,
            seed=row.seed,
        )
        for row in rows(suite)
    ]


def run_suite(
    suite: Suite, root: Path, records: Path | None, device: str, progress: Progress, console: Console | None
) -> Iterator[tuple[Plan, State, str]]:
    """Runs every job that is not stored; a failed one does not stop the others.

    Args:
        suite: What to run.
        root: Root of the runs.
        records: Where each record is exported as its job ends; None for smoke suites.
        device: auto, cpu or cuda.
        progress: Called while phantoms are made.
        console: Where progress is drawn.

    Yields:
        The plan, how its job ended, and the reason of a failure.
    """
    for plan in plans(suite, progress):
        try:
            record, folder, stored = execute(plan, root=root, device=device, console=console)
        except JobFailed as error:
            yield plan, "failed", str(error)
        except UserError as error:
            if "in progress" not in str(error):
                yield plan, "failed", str(error)
            else:
                yield plan, "in progress", ""
        else:
            if records is not None:
                export_record(record, folder, records)
            yield plan, "stored" if stored else "done", ""


def stored_state(plan: Plan, root: Path) -> str:
    """Returns what is stored of a job: its record's status, or "to do"."""
    record = RunFolder(root / plan.job.id).record()
    return "to do" if record is None else record.status


def export_record(record: Record, folder: Path, records: Path) -> Path:
    """Copies record, cases and curves to ``records/<protocol>/<dataset>/<method>/<id>.*``; returns the JSON file."""
    target = records / record.protocol.name / (record.test_on or record.dataset).name / record.method.name
    target.mkdir(parents=True, exist_ok=True)
    for name, suffix in (("cases.csv", ".cases.csv"), ("curves.json", ".curves.json"), ("record.json", ".json")):
        part = target / f".{record.id}{suffix}.tmp"
        shutil.copyfile(folder / name, part)
        part.replace(target / f"{record.id}{suffix}")
    return target / f"{record.id}.json"
