"""Tables for pandas: records, runs, prepared data and the leaderboard."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from uadbench.core.errors import UserError
from uadbench.core.experiments import FOLDER
from uadbench.core.record import Record
from uadbench.data.storage.store import Store
from uadbench.evaluation.protocol.headline import DICE
from uadbench.inference.stored_run import Run
from uadbench.records.read import read_entries
from uadbench.report.tables.model import Leaderboard
from uadbench.report.tables.tables import make_leaderboard

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ("case_ap", DICE, "pixel_auroc", "image_auroc")
EXPECTED = "a Record, a Run, several of either, a Store or a Leaderboard"


def to_dataframe(what: Record | Run | Store | Leaderboard | Iterable[Record | Run] | object) -> pd.DataFrame:
    """Returns a table of an object of this package.

    Args:
        what: Records or runs (one row per record and metric, with value, interval, number of patients and rule), a
            store (one row per image) or a leaderboard (one row per row of it).

    Raises:
        UserError: If it is none of these.
    """
    import pandas as pd

    if isinstance(what, Leaderboard):
        return pd.DataFrame(_board_rows(what))
    if isinstance(what, Store):
        keys = ("uid", "patient", "volume", "slice", "role", "kind", "cohort")
        rows = [{key: getattr(item, key) for key in keys if hasattr(item, key)} for item in what.items]
        return pd.DataFrame(rows)
    several = [what] if isinstance(what, Record | Run) else what
    if not isinstance(several, Iterable) or isinstance(several, str | bytes):
        raise UserError(f"A {type(what).__name__} is not a table.", f"Give {EXPECTED}.")
    records: list[Record] = []
    for each in several:
        if not isinstance(each, Record | Run):
            raise UserError(f"A {type(each).__name__} is not a row of a table.", f"Give {EXPECTED}.")
        records.append(each.record if isinstance(each, Run) else each)
    return pd.DataFrame([row for record in records for row in _metric_rows(record)])


def leaderboard(records: Path | str | None = None, runs: Path | str | None = None) -> pd.DataFrame:
    """Returns the leaderboard: one row per method with its settings, question and tier, ranked ones first.

    Args:
        records: Folder of records; by default those committed in this clone.
        runs: Folder of runs whose records are added; None for none.

    Raises:
        DataError: If a folder does not exist.
    """
    committed = FOLDER.parent.parent / "leaderboard" / "records"
    folders = [Path(records) if records is not None else committed.resolve()]
    folders += [Path(runs)] if runs is not None else []
    return to_dataframe(make_leaderboard(*read_entries(folders)))


def _metric_rows(record: Record) -> list[dict[str, Any]]:
    shared = {
        "id": record.id,
        "method": record.method.label,
        "dataset": (record.test_on or record.dataset).name,
        "preset": record.method.preset,
        "seed": record.seed,
        "status": record.status,
    }
    shown = {"value", "low", "high", "n_patients", "rule"}
    return [{**shared, "metric": key, **metric.model_dump(include=shown)} for key, metric in record.metrics.items()]


def _board_rows(board: Leaderboard) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for arena in board.arenas:
        for table in arena.tables:
            for row in table.rows:
                cells: dict[str, Any] = {
                    "dataset": arena.tested.name,
                    "source": arena.tested.source,
                    "version": arena.tested.version,
                    "trained_on": arena.trained.name,
                    "preset": arena.preset,
                    "tier": table.tier,
                    "rank": row.rank,
                    "method": row.label,
                    "trivial": row.trivial,
                    "seeds": len(row.seeds),
                    "unranked_because": row.unranked_because,
                }
                for key in COLUMNS:
                    number = row.metrics.get(key)
                    for part in ("value", "low", "high"):
                        name = key if part == "value" else f"{key} {part}"
                        cells[name] = None if number is None else getattr(number, part)
                rows.append(cells)
    return rows
