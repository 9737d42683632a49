"""The record: one JSON file per entry. The report reads only records."""

from __future__ import annotations

import hashlib
import json
import math
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator

from uadbench.core.reading import bounded

SCHEMA = 2
"""Since 2 every table and ``spec.json`` have a hash in the record."""
MAX_SEED = 2**63
MAX_NUMBER = 10**15  # of what a record holds
MAX_TEXT = 2000  # characters of a reason; more is cut
IMPORTED = "imported, training as reported"
"""Checkpoint rule of imported weights: a record cannot know what they were trained on."""
Status = Literal["done", "failed", "skipped"]
Isolation = Literal["none", "handles", "namespace"]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


Plain = Annotated[dict[str, Any], AfterValidator(lambda config: bounded(config, MAX_NUMBER))]
Finite = Annotated[float, Field(ge=-MAX_NUMBER, le=MAX_NUMBER)]
Amount = Annotated[float, Field(ge=0, le=1e12, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0, le=MAX_NUMBER)]
Text = Annotated[str, AfterValidator(lambda text: text if len(text) <= MAX_TEXT else f"{text[: MAX_TEXT - 3]}...")]


class MethodPart(_Part):
    """Which method; ``label`` is the name with its variant, e.g. ``ddpm[noise=coarse]``."""

    name: str
    label: str
    version: str
    supervision: str
    preset: str
    config: Plain


class DatasetPart(_Part):
    """Which data. ``ranked`` is False for data that must never be ranked."""

    name: str
    version: str
    recipe: str
    fingerprint: str
    source: Literal["phantom", "semi-synthetic", "real"]
    ranked: bool = True
    notes: list[str] = Field(default_factory=list[str])
    modality: str = ""
    polarity: int = 0


class ProtocolPart(_Part):
    """Which rules of scoring."""

    name: str
    version: str
    hash: str


class Metric(_Part):
    """One number with its interval.

    Attributes:
        value: Point estimate; None if undefined (for example no lesion case).
        low: Lower limit of the 95 % interval over patients, None if there are too few.
        high: Upper limit.
        n_patients: Patients behind it.
        unit: "1", "mm", "ms", ...
        higher_is_better: Direction.
        rule: Threshold rule, "" for threshold-free metrics.
        ceiling: The best value that a perfect detector could reach under the rule, if there is one.
    """

    value: Finite | None
    low: Finite | None = None
    high: Finite | None = None
    n_patients: Count
    unit: str = "1"
    higher_is_better: bool = True
    rule: str = ""
    ceiling: Finite | None = None

    @field_validator("value", "low", "high", "ceiling", mode="before")
    @classmethod
    def _finite(cls, value: Any) -> Any:
        return None if isinstance(value, float) and not math.isfinite(value) else value


class Ledger(_Part):
    """The supervision ledger: the labels and priors used.

    ``published`` states for which modality published values were used and how they were chosen; ``published_seen`` that
    they were chosen on lesions of the test cohort.
    """

    train_pixel_labels: Count = 0
    train_image_labels: Count = 0
    threshold_labels: dict[str, str] = Field(default_factory=dict[str, str])
    tuning_labels: str = "none"
    checkpoint_rule: str = "last"
    polarity_prior: int = 0
    organ_masks_at_test: bool = False
    defaults_from: str = ""
    published: str = ""
    published_seen: bool = False


class Cost(_Part):
    """Cost in time, memory and parameters."""

    train_s: Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)]
    predict_ms_per_image: Amount
    peak_gb: Amount
    parameters: Count
    train_images_seen: Count = 0


class Environment(_Part):
    """Environment without host, user or path. ``notes`` list effects of the machine, such as a smaller batch.

    ``cpu`` names what numbers may depend on in their last bits: the architecture, and the processor features that NumPy
    and torch used. ``compiled`` says whether networks were called through torch.compile.
    ``isolated`` is a claim like the others: whether the method ran in a process that has a copy of the images alone
    (``handles``), in namespaces without files of the data, other processes and network (``namespace``), or neither.
    ``load`` is the average number of threads that wanted a core in the last minute of the run; if it is larger than the
    threads of the run, other work ran and times are too long to compare. None: not measured.
    """

    commit: str
    dirty: bool
    device: str
    precision: str
    layout: str = "channels_first"
    compiled: bool = False
    versions: dict[str, str]
    notes: list[str] = Field(default_factory=list[str])
    cpu: dict[str, str] = Field(default_factory=dict[str, str])
    isolated: Isolation = "none"
    load: Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)] | None = None


class Fold(_Part):
    """One fit of a pooled record: its own record, data, weights and number of test patients."""

    record: str = Field(pattern=r"^[0-9a-f]{16}$")
    fingerprint: str = Field(pattern=r"^[0-9a-f]{1,64}$")
    weights: str = Field(pattern=r"^[0-9a-f]{0,64}$")
    patients: int = Field(ge=1)


class Record(_Part):
    """One entry of the benchmark; ``folds`` lists the fits of a pooled record, one per fold."""

    schema_version: Literal[1, 2] = SCHEMA
    id: str
    seed: Annotated[int, Field(ge=0, lt=MAX_SEED)]
    created: str
    status: Status
    reason: Text = ""
    method: MethodPart
    dataset: DatasetPart
    test_on: DatasetPart | None = None
    protocol: ProtocolPart
    metrics: dict[str, Metric] = Field(default_factory=dict[str, Metric])
    ledger: Ledger = Ledger()
    cost: Cost | None = None
    env: Environment
    hashes: dict[str, str] = Field(default_factory=dict[str, str])
    folds: list[Fold] = Field(default_factory=list[Fold])


def stable_hash(value: Any, length: int = 16) -> str:
    """Returns the first hex digits of the SHA-256 of a JSON value with sorted keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, allow_nan=False).encode()).hexdigest()[:length]
