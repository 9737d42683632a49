"""A stored run in a notebook: its record, tables and figures."""

from __future__ import annotations

import html
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from uadbench.core.dataset import no_progress
from uadbench.core.errors import DataError, UserError
from uadbench.core.record import Metric, Record
from uadbench.evaluation.cases import CaseMaps, Cases
from uadbench.evaluation.protocol.headline import DICE
from uadbench.records.words import metric_words
from uadbench.runner.scoring.overview import Overview, overview_figure
from uadbench.runner.storage.open_run import RunOpener
from uadbench.runner.storage.run_folder import RunFolder

if TYPE_CHECKING:
    import pandas as pd

HEADLINE = ("case_ap", DICE, "pixel_auroc", "image_auroc")


@dataclass(frozen=True)
class CasePictures:
    """One case as arrays on the grid of the image; a frame has one slice.

    Attributes:
        image: Intensities in [-1, 1], float32 (slices, height, width).
        truth: True on the lesion, (slices, height, width); None without a mask.
        map: Raw anomaly map, larger is more anomalous, float32 (slices, height, width).
        reconstruction: Healthy counterpart in [-1, 1], (slices, height, width); None if the method makes none.
    """

    image: NDArray[np.float32] | None
    truth: NDArray[np.bool_] | None
    map: NDArray[np.float32]
    reconstruction: NDArray[np.float32] | None


class RunMaps(Mapping[str, CasePictures]):
    """The test cases of a run by name, each loaded on access."""

    def __init__(self, cases: Cases, names: list[str]) -> None:
        self._cases = cases
        self._at = {name: i for i, name in enumerate(names)}

    def __getitem__(self, case: str) -> CasePictures:
        """Loads a case.

        Raises:
            KeyError: If there is no such case; the message lists some.
        """
        if case not in self._at:
            known = ", ".join(list(self._at)[:3])
            raise KeyError(f"There is no test case {case!r}; there are {len(self._at)}, such as {known}.")
        found: CaseMaps = self._cases[self._at[case]]
        return CasePictures(
            found.image, None if found.mask is None else found.mask == 1, found.maps, found.reconstruction
        )

    def __iter__(self) -> Iterator[str]:
        """Yields the names of the cases."""
        return iter(self._at)

    def __len__(self) -> int:
        """Number of cases."""
        return len(self._at)

    def __repr__(self) -> str:
        return f"{len(self)} test cases: {', '.join(list(self)[:3])}, ..."


class Run:
    """A finished run.

    Args:
        path: Its folder.
        sources: Folder of the prepared data by dataset name, for figures; phantoms need none.

    Raises:
        DataError: If the folder holds no finished run.
    """

    def __init__(self, path: Path | str, sources: Mapping[str, Path] | None = None) -> None:
        self.path = Path(path)
        self._sources = dict(sources or {})
        record = RunFolder(self.path).record()
        if record is None:
            raise DataError(f"{path} is not a finished run.", "Give the folder runs/ID of a run that ended.")
        self.record: Record = record

    @cached_property
    def cases(self) -> pd.DataFrame:
        """One row per test case: case, patient, lesion, ap and the other columns of cases.csv.

        Raises:
            DataError: If the run failed, or the table cannot be read.
        """
        import pandas as pd

        try:
            return pd.read_csv(self.path / "cases.csv", dtype={"case": str, "patient": str})
        except (OSError, ValueError) as error:
            state = "" if self.record.status == "done" else f" It {self.record.status}: {self.record.reason}"
            raise DataError(f"{self.path} holds no readable cases.csv.{state}", "Give a run that ended.") from error

    @cached_property
    def maps(self) -> RunMaps:
        """Image, truth, map and reconstruction of each test case, by its name in ``cases``.

        Raises:
            DataError: If the maps or the data are missing.
        """
        _, test = RunOpener(self._sources, no_progress)(self.path)
        return RunMaps(test, [test[i].case for i in range(len(test))])

    def plot(self) -> Overview:
        """Draws the best, median and worst lesion cases and the healthy case with the highest score.

        Raises:
            DataError: If the maps or the data are missing.
        """
        _, test = RunOpener(self._sources, no_progress)(self.path)
        return overview_figure(test, self.cases, self._threshold())

    def __repr__(self) -> str:
        record = self.record
        told = [f"{metric_words(key, short=True)} {_value(record.metrics[key])}" for key in self._headline()[:2]]
        numbers = ", ".join(told) if record.status == "done" else record.status
        return f"Run({self._title()}, seed {record.seed}: {numbers}; {self.path})"

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><th style='text-align:left'>{html.escape(metric_words(key))}</th><td>{_value(metric)}</td>"
            f"<td>{_interval(metric)}</td></tr>"
            for key in self._headline()
            for metric in [self.record.metrics[key]]
        )
        title = html.escape(f"{self._title()}, seed {self.record.seed}: {self.record.status}")
        return (
            f"<table><caption>{title}</caption><tr><th></th><th>value</th><th>95 % interval over patients</th></tr>"
            f"{rows}</table><p><code>{html.escape(str(self.path))}</code></p>"
        )

    def _threshold(self) -> float | None:
        """Returns the applied headline threshold, None if an older run lacks it."""
        try:
            applied = json.loads((self.path / "thresholds.json").read_bytes())
            return float(applied["values"][applied["headline"]])
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _headline(self) -> list[str]:
        return [key for key in HEADLINE if key in self.record.metrics]

    def _title(self) -> str:
        data = self.record.test_on or self.record.dataset
        return f"{self.record.method.label} on {data.name} ({data.source}), preset {self.record.method.preset}"


def stored_runs(root: Path | str = "runs") -> list[Run]:
    """Returns the finished runs below a folder, newest first.

    Args:
        root: Root of the runs.

    Raises:
        UserError: If there is no such folder.
    """
    if not Path(root).is_dir():
        raise UserError(f"There is no folder {root}.", "Give the parent folder of the runs (the value of --out).")
    found = [Run(file.parent) for file in sorted(Path(root).glob("*/record.json"))]
    return sorted(found, key=lambda run: (run.record.created, run.record.id), reverse=True)


def _value(metric: Metric) -> str:
    return "undefined" if metric.value is None else f"{metric.value:.3f}"


def _interval(metric: Metric) -> str:
    if metric.low is None or metric.high is None:
        return f"too few patients ({metric.n_patients})"
    return f"{metric.low:.3f} to {metric.high:.3f}"
