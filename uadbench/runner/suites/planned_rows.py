"""The rows of a suite with opened data: the plan of each job, or why it cannot run here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from uadbench.core.dataset import Progress
from uadbench.core.errors import UserError
from uadbench.core.files import expanded
from uadbench.data.storage.store import Store
from uadbench.runner.planning.datasets import open_source
from uadbench.runner.planning.plan import Plan, plan_run
from uadbench.runner.planning.tuned_config import load_tuned
from uadbench.runner.suites.suite import Row, Suite, registered, rows


@dataclass(frozen=True)
class PlannedRow:
    """A row with its plan, or the reason why it cannot run here (missing data)."""

    row: Row
    plan: Plan | None
    reason: str = ""

    @property
    def id(self) -> str:
        """The job's id, or the row's hash if there is no job because data are missing."""
        return self.row.key if self.plan is None else self.plan.job.id


def plans(suite: Suite, progress: Progress, base: Path = Path()) -> list[PlannedRow]:
    """Opens the data of a suite and plans every row; a row with missing data has a reason instead.

    Args:
        suite: The suite.
        progress: Called while phantoms are simulated.
        base: Folder that relative sources start from.
    """
    opened: dict[tuple[str, str], Store | UserError] = {}
    return [_plan(row, progress, base, opened) for row in rows(suite)]


def open_row(row: Row, progress: Progress, base: Path, opened: dict[tuple[str, str], Store | UserError]) -> Plan:
    """Plans a row.

    Args:
        row: The row.
        progress: Called while phantoms are simulated.
        base: Folder that relative sources start from.
        opened: Stores already open and errors so far; updated.

    Raises:
        UserError: If its data are missing or do not suit the method.
    """
    train = _open(row.dataset, row.source, progress, base, opened)
    test = _open(row.test_on, row.test_source, progress, base, opened) if row.test_on else None
    return plan_run(
        method=row.method,
        train=train,
        test=test,
        preset=row.preset,
        protocol=row.protocol,
        tuned=load_tuned(row.method, registered(row.dataset)) if row.tuned else None,
        overrides=row.overrides,
        seed=row.seed,
    )


def _plan(row: Row, progress: Progress, base: Path, opened: dict[tuple[str, str], Store | UserError]) -> PlannedRow:
    try:
        return PlannedRow(row, open_row(row, progress, base, opened))
    except UserError as error:
        return PlannedRow(row, None, str(error))


def _open(
    name: str, source: str, progress: Progress, base: Path, opened: dict[tuple[str, str], Store | UserError]
) -> Store:
    key = (name, source)
    if key not in opened:
        try:
            place = source if source == "phantom" else str(base / expanded(source))
            opened[key] = open_source(registered(name), place, progress)
        except UserError as error:
            opened[key] = error
    found = opened[key]
    if isinstance(found, UserError):
        raise found
    return found
