"""Contents of a leaderboard: the published schema of ``leaderboard.json``."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from uadbench.core.record import DatasetPart, ProtocolPart


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Number(_Part):
    """A metric of a row: the mean over its seeds.

    Attributes:
        value: Mean over the seeds, None if undefined.
        low: Lower end of the 95 % interval over patients.
        high: Upper limit.
        seed_spread: Largest minus smallest value over the seeds; a description, not an interval.
        ceiling: The value of a perfect detector under the threshold rule, if there is one.
        n_patients: Patients behind it (the fewest of any seed).
        unit: "1", "mm", ...
        higher_is_better: Direction.
        rule: Threshold rule, "" for threshold-free metrics.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    seed_spread: float | None = None
    ceiling: float | None = None
    n_patients: int = 0
    unit: str = "1"
    higher_is_better: bool = True
    rule: str = ""


class Versus(_Part):
    """Case AP against the best trivial baseline.

    Attributes:
        baseline: Its label.
        difference: Mean paired difference, or the difference of the values if case tables are missing.
        low: Lower limit of its interval over patients; None if case tables are missing.
        high: Upper limit.
        beats: True if the interval is above 0; without an interval, False if the difference is not above 0 and
            None (not shown) otherwise.
    """

    baseline: str
    difference: float
    low: float | None = None
    high: float | None = None
    beats: bool | None


class Row(_Part):
    """One method, setting and tier, all seeds together, with its rank or the reason for having none."""

    rank: int | None
    unranked_because: str = ""
    method: str
    label: str
    version: str
    supervision: str
    trivial: bool
    seeds: list[int]
    records: list[str]
    verification: str
    metrics: dict[str, Number] = Field(default_factory=dict[str, Number])
    versus_trivial: Versus | None = None
    remarks: list[str] = Field(default_factory=list[str])
    train_s: float | None = None
    predict_ms_per_image: float | None = None
    peak_gb: float | None = None
    parameters: int | None = None


class Table(_Part):
    """Rows that may be ranked against each other, ranked ones first."""

    tier: str
    rows: list[Row]


class Arena(_Part):
    """One question: the same test data, training data, rules and preset."""

    key: str
    protocol: ProtocolPart
    tested: DatasetPart
    trained: DatasetPart
    preset: str
    tables: list[Table]

    @property
    def title(self) -> str:
        """The arena in words, plain text."""
        cohort = "" if self.trained == self.tested else f", trained on {self.trained.name} ({self.trained.source})"
        return f"{self.tested.name} ({self.tested.source}){cohort}, preset {self.preset}"


class Refused(_Part):
    """A refused file."""

    file: str
    reason: str


class Leaderboard(_Part):
    """All tables."""

    schema_version: int = 1
    arenas: list[Arena]
    refused: list[Refused]
