"""The study of label-free choice: settings drawn once, evaluated without labels, and compared on the test set.

Usage:
  python tools/label_free_choice.py draw > experiments/suites/choice.yaml
  uadbench bench experiments/suites/choice.yaml
  python tools/label_free_choice.py page --runs runs --out docs/explanation/choice.md

``draw`` samples the settings from the methods' search spaces with a stated seed. ``page`` evaluates each finished run
on every family of synthetic lesions and on the mixture, keeps what it found beside the run (``choice.json``), and
writes the page: rank correlation and regret of each objective, of the default, of K labelled patients and of a random
setting, and which studies are not run yet. Interrupted, it goes on with the runs that are not judged. The folds of a
set make one study: objectives are averaged over folds, and every patient is tested in one of them. Test metrics are
read from the records alone, after all that is judged.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pandas as pd
import torch
import yaml

from uadbench.core.catalog import METHODS
from uadbench.core.dataset import no_progress
from uadbench.core.errors import DataError
from uadbench.core.files import atomic_text
from uadbench.core.record import stable_hash
from uadbench.core.roles import Role
from uadbench.data.simulation.families import FAMILIES
from uadbench.data.simulation.mixture import MIXTURE, VERSION, SyntheticLesions
from uadbench.evaluation.statistics.choice import (
    Estimate,
    Grid,
    leave_one_domain_out,
    rank_correlation,
    regrets,
)
from uadbench.runner.execution.fixed_batch import FixedBatchPredictor
from uadbench.runner.execution.run import build_method
from uadbench.runner.planning.plan import Plan
from uadbench.runner.storage.run_folder import RunFolder
from uadbench.runner.suites.planned_rows import plans
from uadbench.runner.suites.suite import load_suite
from uadbench.tuning.judge import Images, judge, thin
from uadbench.tuning.space import load_space
from uadbench.tuning.view import TuningView

SUITE = Path("experiments/suites/choice.yaml")
METHODS_JUDGED = ("synomaly", "dae", "anoddpm")
SETTINGS, SEED, PRESET = 24, 1, "quick"
DOMAINS = {"brain_mri": "brain", "liver_ct": "liver", "carotid_us": "us", "breast_us": "us", "folder@btp": "brain"}
FOLDS = {"folder@btp": 4}
IMAGES = 256
FILE = "choice.json"
HEAD = """# {count} settings per method, drawn from its search space with seed {seed} by tools/label_free_choice.py:
# do not edit. The study of label-free choice (docs/explanation/choice.md); families, mixture and settings were
# committed before any test metric of it was read. {runs} runs of preset quick: days of idle cores. A set that is not
# prepared is skipped; real.yaml states how to prepare the two real ones.
"""


@dataclass(frozen=True)
class Judged:
    """Data of a run: objectives by name, the metric of each val patient, and of each test patient."""

    objectives: Mapping[str, float]
    val: Mapping[str, float]
    test: Mapping[str, float]


Cell = tuple[str, int, int]
"""Label, seed and fold of a run."""


@dataclass(frozen=True)
class Studies:
    """What a suite gives so far.

    Attributes:
        grids: A study for each method and set that is complete.
        missing: How many of how many runs there are of the others, by set and method.
    """

    grids: Sequence[Grid]
    missing: Mapping[tuple[str, str], tuple[int, int]]


def main(arguments: Sequence[str] | None = None) -> None:
    """Reads the arguments and draws the suite or writes the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("draw", help="print the suite")
    page = commands.add_parser("page", help="evaluate finished runs and write the page")
    page.add_argument("--suite", type=Path, default=SUITE)
    page.add_argument("--runs", type=Path, default=Path("runs"))
    page.add_argument("--out", type=Path, default=Path("docs/explanation/choice.md"))
    asked = parser.parse_args(arguments)
    if asked.command == "draw":
        sys.stdout.write(draw())
    else:
        atomic_text(asked.out, write(collect(asked.suite, asked.runs)))


def draw() -> str:
    """Returns the suite file: every method with its plain row and the drawn settings as variants."""
    suite: dict[str, Any] = {
        "name": "choice",
        "preset": PRESET,
        "datasets": list(DOMAINS),
        "sources": {"breast_us": "prepared/breast_us", "folder@btp": "prepared/brain_btp"},
        "folds": FOLDS,
        "seeds": [0, 1, 2],
        "methods": list(METHODS_JUDGED),
        "variants": {name: settings_of(name) for name in METHODS_JUDGED},
    }
    parts = sum(FOLDS.get(name, 1) for name in DOMAINS)
    runs = len(METHODS_JUDGED) * (SETTINGS + 1) * len(suite["seeds"]) * parts
    head = HEAD.format(count=SETTINGS, seed=SEED, runs=runs)
    return head + yaml.safe_dump(suite, sort_keys=False, default_flow_style=None, width=118)


def settings_of(name: str) -> list[dict[str, Any]]:
    """Draws different settings from a method's space, evenly over its parameters."""
    kind = METHODS.load(name)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=SEED))
    space, plain = load_space(kind), kind.config_type.resolve(PRESET)
    found: dict[str, dict[str, Any]] = {}
    while len(found) < SETTINGS:
        config = kind.config_type.resolve(PRESET, space.suggest(study.ask()))
        before, after = plain.model_dump(mode="json"), config.model_dump(mode="json")
        changed = {key: _rounded(value) for key, value in after.items() if value != before[key]}
        if changed:
            found.setdefault(stable_hash(changed), changed)
    return list(found.values())


def collect(suite: Path, runs: Path) -> Studies:
    """Judges the finished runs of a suite.

    Raises:
        DataError: If no study is complete.
    """
    cells: defaultdict[tuple[str, str], dict[Cell, Judged]] = defaultdict(dict)
    wanted: defaultdict[tuple[str, str], set[Cell]] = defaultdict(set)
    for planned in plans(load_suite(suite), no_progress):
        row, plan = planned.row, planned.plan
        key, cell = (row.dataset, row.method), (row.label, row.seed, row.fold)
        wanted[key].add(cell)
        folder = RunFolder(runs / planned.id)
        record = folder.record() if plan is not None else None
        if plan is not None and record is not None and record.status == "done":
            cells[key][cell] = judged(plan, folder)
    complete = [key for key in sorted(wanted) if cells[key].keys() == wanted[key]]
    if not complete:
        raise DataError("No study is complete: not all settings of any method on any set are run.", f"Run {suite}.")
    return Studies(
        [_grid(*key, pooled(cells[key])) for key in complete],
        {key: (len(cells[key]), len(wanted[key])) for key in sorted(wanted) if key not in complete},
    )


def pooled(cells: Mapping[Cell, Judged]) -> dict[tuple[str, int], Judged]:
    """Returns what is known of each setting and seed over all folds."""
    parts: defaultdict[tuple[str, int], list[Judged]] = defaultdict(list)
    for (label, seed, _), one in cells.items():
        parts[label, seed].append(one)
    return {
        key: Judged(
            _means([one.objectives for one in found]),
            _means([one.val for one in found]),
            _means([one.test for one in found]),
        )
        for key, found in parts.items()
    }


def _means(parts: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Returns the mean of each name over the parts that have it."""
    names = dict.fromkeys(name for part in parts for name in part)
    return {name: float(np.mean([part[name] for part in parts if name in part])) for name in names}


def judged(plan: Plan, folder: RunFolder) -> Judged:
    """Evaluates a run on synthetic lesions and on val, or returns the stored result."""
    file = folder.path / FILE
    key = stable_hash([VERSION, IMAGES, sorted(FAMILIES), plan.job.id])
    content: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
    if content.get("key") != key:
        content = {"key": key, **_judge(plan, folder)}
        folder.write_text(FILE, json.dumps(content, indent=1))
    table = pd.read_csv(folder.path / "cases.csv", dtype={"patient": str, "case": str})
    test = table[table["lesion"]].groupby("patient")["ap"].mean().to_dict()
    return Judged(content["objectives"], content["val"], {str(name): float(value) for name, value in test.items()})


def _judge(plan: Plan, folder: RunFolder) -> dict[str, Any]:
    """Predicts synthetic lesions and val with the weights of a run; without access to the test role."""
    view = TuningView(plan.train, {Role.CALIB, Role.VAL})
    device = torch.device("cpu")
    method = build_method(plan, device)
    method.load_state_dict(folder.load_weights())
    predict = FixedBatchPredictor(method, plan.job.seed, plan.config.predict_batch, device)
    calib = view.role(Role.CALIB)
    objectives: dict[str, float] = {}
    for name in (MIXTURE, *FAMILIES):
        lesions = SyntheticLesions(view, calib, view.head.polarity, None if name == MIXTURE else name)
        cases = Images(lesions, thin(lesions.items, IMAGES), plan.spec).predict(predict)
        objectives[name] = judge(cases, cases).mean("ap")
    val: dict[str, float] = {}
    if items := view.role(Role.VAL):
        cases = Images(view, thin(items, IMAGES), plan.spec).predict(predict)
        val = judge(cases, cases).ap
    return {"objectives": objectives, "val": val}


def _grid(dataset: str, method: str, cells: Mapping[tuple[str, int], Judged]) -> Grid:
    labels = list(dict.fromkeys(label for label, _ in cells))
    seeds = sorted({seed for _, seed in cells})
    patients = sorted(next(iter(cells.values())).test)
    labelled = sorted(next(iter(cells.values())).val)
    rows = [[cells[label, seed] for label in labels] for seed in seeds]
    names = list(rows[0][0].objectives)
    return Grid(
        dataset=dataset,
        domain=DOMAINS.get(dataset, dataset),
        method=method,
        settings=labels,
        test=np.array([[[one.test[name] for name in patients] for one in row] for row in rows]),
        objectives={name: np.array([[one.objectives[name] for one in row] for row in rows]) for name in names},
        val=np.array([[[one.val[name] for name in labelled] for one in row] for row in rows]) if labelled else None,
        fixed={"default": labels.index(method)} if method in labels else {},
    )


def write(studies: Studies) -> str:
    """Returns the page."""
    grids = studies.grids
    parts = [
        "# Choosing without labels",
        "Generated by `python tools/label_free_choice.py page`; do not edit. If there are no labels, the settings of a "
        "method must be chosen by another objective. Here every setting of a study is evaluated on synthetic "
        f"lesions (mixture {VERSION} and each family alone), and then compared with the case AP on the test set. "
        "*Regret* is the AP of the best setting minus that of the chosen one, averaged over seeds. The best of a grid "
        "is optimistic and a narrow grid makes regret small: it has no interval, and a random setting is shown for "
        "comparison. Correlations and gains have 95 % intervals over test patients.",
    ]
    if studies.missing:
        lines = [
            f"| {method} | {data} | {done} of {all_} |" for (data, method), (done, all_) in studies.missing.items()
        ]
        head = "## Not run yet\n\n| method | set | runs |\n|---|---|---|\n"
        parts.append(head + "\n".join(lines))
    for grid in grids:
        best = float(np.nanmean(grid.test, axis=2).max(axis=1).mean())
        parts.append(
            f"## {grid.method} on {grid.dataset}\n\n{len(grid.settings)} settings, {grid.test.shape[0]} seeds, "
            f"{grid.test.shape[2]} test patients; best case AP {best:.3f}.\n\n" + _table(grid)
        )
    left = leave_one_domain_out(grids)
    if left:
        rows = [f"| {domain} | {name} | {value:.1%} |" for domain, (name, value) in left.items()]
        head = "| domain left out | objective chosen on the others | its regret there |\n|---|---|---|\n"
        parts.append(
            "## The default objective\n\nFor each domain, the objective with the least mean relative regret on other "
            "domains: the last column estimates that procedure.\n\n" + head + "\n".join(rows)
        )
    return "\n\n".join(parts) + "\n"


def _table(grid: Grid) -> str:
    lines = ["| choice | rank correlation | regret | of the best | gain over the default |", "|---|---|---|---|---|"]
    for name, found in sorted(regrets(grid).items(), key=lambda pair: pair[1].relative):
        correlation = _words(rank_correlation(grid, name)) if name in grid.objectives else ""
        gain = "" if found.gain is None else _words(found.gain)
        lines.append(f"| {name} | {correlation} | {found.absolute:.3f} | {found.relative:.0%} | {gain} |")
    return "\n".join(lines)


def _words(found: Estimate) -> str:
    ends = "" if found.low is None or found.high is None else f" ({found.low:.3f} to {found.high:.3f})"
    return f"{found.value:.3f}{ends}"


def _rounded(value: Any) -> Any:
    return float(f"{value:.3g}") if isinstance(value, float) else value


if __name__ == "__main__":
    main()
