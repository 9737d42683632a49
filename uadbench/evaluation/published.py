"""Published numbers and ours: read from a file, compared if the data are of the same kind, with causes of gaps."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from uadbench.core.errors import DataError
from uadbench.core.reading import read_yaml
from uadbench.core.record import DatasetPart, Record
from uadbench.evaluation.protocol.headline import DICE as HEADLINE

# Our metric that is closest to a published one, by the rule of its threshold.
DICE = {"val": "dice@val", "test": "dice@oracle"}
METRICS = {"ap": "case_ap", "image_auroc": "image_auroc", "pixel_auroc": "pixel_auroc_pooled"}
State = Literal["compared", "other data", "no record"]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Source(_Part):
    """Source of a number.

    Attributes:
        cite: Citation.
        where: Location in the source.
        standing: "published", "rerun by others", or what else.
    """

    cite: str
    where: str
    standing: str


class HowMeasured(_Part):
    """How numbers were measured, as far as the source states.

    Attributes:
        sequence: MRI sequence or modality.
        trained_on: Cohort of the training images.
        unit: Unit of averaging: "volume", "slice", "pooled" or "unknown".
        threshold: Labels used to choose it: "val", "test", "none" or "unknown".
        cases: Which cases count.
        resolution: Side of the images in pixels; None if not known.
        notes: Further notes.
    """

    sequence: str
    trained_on: str
    unit: Literal["volume", "slice", "pooled", "unknown"]
    threshold: Literal["val", "test", "none", "unknown"]
    cases: str
    resolution: int | None
    notes: str


class PublishedRow(_Part):
    """Numbers of a method, in the order of the table's metrics; None if missing."""

    method: str
    config: dict[str, Any] = Field(default_factory=dict[str, Any])
    values: list[float | None]


class PublishedTable(_Part):
    """Numbers on one test set."""

    source: str
    protocol: str
    dataset: str
    cohort: str
    metrics: list[Literal["dice", "ap", "image_auroc", "pixel_auroc"]]
    rows: list[PublishedRow]


class PublishedLedger(_Part):
    """All published numbers."""

    version: str
    sources: dict[str, Source]
    protocols: dict[str, HowMeasured]
    tables: list[PublishedTable]

    @model_validator(mode="after")
    def _fits(self) -> PublishedLedger:
        for table in self.tables:
            if table.source not in self.sources or table.protocol not in self.protocols:
                raise ValueError(f"table of {table.dataset}: unknown source or protocol")
            for row in table.rows:
                if len(row.values) != len(table.metrics):
                    raise ValueError(f"{row.method} on {table.cohort}: {len(row.values)} values")
                if any(value is not None and not 0 <= value <= 1 for value in row.values):
                    raise ValueError(f"{row.method} on {table.cohort}: numbers are fractions between 0 and 1")
        return self


@dataclass(frozen=True)
class Cause:
    """Why a published number and ours may differ.

    Attributes:
        what: In words, published first.
        size: Its effect on our maps (published choice minus ours), None if not measured.
    """

    what: str
    size: float | None = None


@dataclass(frozen=True)
class Comparison:
    """A published number and ours.

    Attributes:
        method: Method and settings as in the file.
        dataset: Dataset.
        cohort: Test cohort of the published number.
        metric: Published metric.
        published: The number.
        source: Its source.
        measured: How it was measured.
        state: Whether there is a record, and of data of the same kind.
        key: Our metric that is closest to it.
        ours: Mean over our seeds, None unless compared.
        honest: Our Dice at the headline rule, for a Dice.
        records: Ids of our records.
        causes: Possible causes of the gap, or why the numbers are not compared.
    """

    method: str
    dataset: str
    cohort: str
    metric: str
    published: float
    source: Source
    measured: HowMeasured
    state: State
    key: str
    ours: float | None = None
    honest: float | None = None
    records: tuple[str, ...] = ()
    causes: tuple[Cause, ...] = ()

    @property
    def gap(self) -> float | None:
        """Ours minus the published number."""
        return None if self.ours is None else self.ours - self.published


def load_published(file: Path) -> PublishedLedger:
    """Reads a file of published numbers.

    Raises:
        DataError: If it is missing or malformed.
    """
    try:
        return PublishedLedger.model_validate(read_yaml(file, "The file is leaderboard/published.yaml."))
    except ValidationError as error:
        raise DataError(f"{file} cannot be read: {' '.join(str(error).split())[:300]}.", "Repair the file.") from error


def compare_published(
    ledger: PublishedLedger,
    records: Iterable[Record],
    cohorts: Mapping[str, Iterable[str]],
    gaps: Mapping[str, Mapping[str, Any]] | None = None,
) -> list[Comparison]:
    """Compares every published number with our records of the same method and settings.

    Records that differ only in the seed are averaged. A number is compared only with real data of the same
    cohort; otherwise the comparison states why there is none.

    Args:
        ledger: Published numbers.
        records: Our records.
        cohorts: Cohorts of the test cases of each record (column ``cohort`` of cases.csv), by id.
        gaps: Contents of gaps.json of each record, by id, for the size of causes.

    Returns:
        One comparison per number and group of records, or one without records if there is no group.
    """
    groups: dict[tuple[str, str, str, str], list[Record]] = defaultdict(list)
    for record in sorted(records, key=lambda record: record.id):
        if record.status == "done":
            tested = _tested(record)
            groups[record.method.label, record.method.preset, record.protocol.hash, tested.fingerprint].append(record)
    found: list[Comparison] = []
    for table in ledger.tables:
        for row in table.rows:
            matching = [group for group in groups.values() if _matches(row, table, group[0])]
            for metric, value in zip(table.metrics, row.values, strict=True):
                if value is None:
                    continue
                base = _base(ledger, table, row, metric, value)
                found += [_compared(base, group, cohorts, gaps or {}) for group in matching] or [base]
    return found


def _base(ledger: PublishedLedger, table: PublishedTable, row: PublishedRow, metric: str, value: float) -> Comparison:
    measured = ledger.protocols[table.protocol]
    settings = ",".join(f"{key}={value}" for key, value in row.config.items())
    return Comparison(
        method=f"{row.method}[{settings}]" if settings else row.method,
        dataset=table.dataset,
        cohort=table.cohort,
        metric=metric,
        published=value,
        source=ledger.sources[table.source],
        measured=measured,
        state="no record",
        key=DICE.get(measured.threshold, HEADLINE) if metric == "dice" else METRICS[metric],
        causes=(Cause("no record of this method on this dataset"),),
    )


def _compared(
    base: Comparison,
    group: Sequence[Record],
    cohorts: Mapping[str, Iterable[str]],
    gaps: Mapping[str, Mapping[str, Any]],
) -> Comparison:
    first, ids = group[0], tuple(record.id for record in group)
    tested = _tested(first)
    base = replace(base, records=ids)
    if tested.source != "real":
        return replace(base, state="other data", causes=(Cause(f"ours is a {tested.source}"),))
    known = set(cohorts.get(first.id, ()))
    if base.cohort not in known:
        here = ", ".join(sorted(known)) or "not known"
        return replace(base, state="other data", causes=(Cause(f"cohort {base.cohort}; our test cohort is {here}"),))
    return replace(
        base,
        state="compared",
        ours=_mean(base.key, group),
        honest=_mean(HEADLINE, group) if base.metric == "dice" else None,
        causes=tuple(_causes(base, first, gaps.get(first.id, {}))),
    )


def _causes(base: Comparison, record: Record, gaps: Mapping[str, Any]) -> Iterable[Cause]:
    """Yields every known difference between the published measurement and ours."""
    measured, config = base.measured, record.method.config
    if base.metric == "dice" and measured.threshold == "unknown":
        yield Cause(f"choice of the threshold unknown; ours is {HEADLINE}")
    if measured.unit == "slice":
        yield Cause("averaged over slices; here over patients", _worth(gaps, "slice pool", base.metric))
    elif measured.unit == "unknown":
        yield Cause("unit of averaging unknown; here patients")
    if "only" in measured.cases:
        yield Cause(f"{measured.cases}; here whole cases")
    if measured.trained_on not in ("the same cohort", "unknown", record.dataset.name):
        yield Cause(f"trained on {measured.trained_on}; here on {record.dataset.name} ({record.dataset.recipe})")
    size = config.get("image_size")
    if measured.resolution is not None and size is not None and size != measured.resolution:
        yield Cause(f"{measured.resolution} pixels; here {size}")
    if record.method.preset != "paper":
        yield Cause(f"the published training; here preset {record.method.preset}")
    if config.get("pretrained") is False:
        yield Cause("pretrained weights; here none")
    if base.source.standing != "published":
        yield Cause(f"the number is a {base.source.standing}")


def _worth(gaps: Mapping[str, Any], choice: str, metric: str) -> float | None:
    """Returns the effect of a single choice on our maps."""
    steps = (gaps.get("protocol_gap") or {}).get("steps", [])
    return next((float(step["alone"][metric]) for step in steps if step["choice"] == choice), None)


def _matches(row: PublishedRow, table: PublishedTable, record: Record) -> bool:
    method = record.method
    same = method.name == row.method and _tested(record).name == table.dataset
    return same and all(method.config.get(key) == value for key, value in row.config.items())


def _mean(key: str, group: Sequence[Record]) -> float | None:
    """Returns the mean over the seeds; None if one of them has no value."""
    metrics = [record.metrics.get(key) for record in group]
    values = [metric.value for metric in metrics if metric is not None and metric.value is not None]
    return sum(values) / len(values) if len(values) == len(group) else None


def _tested(record: Record) -> DatasetPart:
    return record.test_on or record.dataset
