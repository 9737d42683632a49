"""Protocols: every choice of scoring in one versioned, hashed file."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from uadbench.core.errors import DataError, UnknownName, cut
from uadbench.core.experiments import experiment_file, experiment_names
from uadbench.core.reading import read_yaml
from uadbench.core.record import stable_hash
from uadbench.evaluation.protocol.thresholds import Rule, parse_rule

GRID = 128
"""Side of the slices to which component sizes refer."""


class Protocol(BaseModel):
    """Rules of scoring (docs/protocol.md gives the reasons).

    Attributes:
        name: Name of the file, e.g. "strict-v1".
        version: Version; a changed value is a new one.
        title: One line for tables.
        flagged: True for protocols whose rows are shown with a warning and never ranked.
        average: "patient": mean of patient means; "slice": every slice counts once.
        ap_scores: "raw", or "thresholded": values at or below the headline threshold are set to 0 first.
        headline: Threshold rule of the secondary metrics.
        rules: All threshold rules, by key.
        ranking_key: Metric that orders a table.
        image_top_fraction: Share of scored pixels, the largest, whose mean is the image score.
        bootstrap_resamples: Number of resamples.
        confidence: Level of the intervals.
        min_patients: Minimum for an interval.
        flag_patients: Intervals of fewer patients are flagged.
        min_class_patients: Curves over several patients: minimum of each class for an interval.
        distance_tolerance_mm: Tolerance of NSD.
        lesion_overlap: Share required for a lesion to be found and a component to be correct.
        lesion_bins_mm: Equivalent diameters that separate size bins.
        aupro_limit: False positive rate up to which AUPRO is integrated.
        smallest_component: 4-connected components of a slice's prediction with fewer pixels of a 128 x 128 grid are not
            predicted; 0 keeps all. Thresholds are chosen before that.
        connectivity: "full" (8 or 26 neighbours) or "faces" (4 or 6).
        conventions: The rules in words, for readers of a record.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    version: str
    title: str
    flagged: bool
    average: Literal["patient", "slice"]
    ap_scores: Literal["raw", "thresholded"]
    headline: str
    rules: tuple[str, ...]
    ranking_key: str
    image_top_fraction: float = Field(gt=0, le=1)
    bootstrap_resamples: int = Field(ge=100)
    confidence: float = Field(gt=0.5, lt=1)
    min_patients: int = Field(ge=2)
    flag_patients: int
    min_class_patients: int = Field(ge=1)
    distance_tolerance_mm: float = Field(gt=0)
    lesion_overlap: float = Field(gt=0, le=1)
    lesion_bins_mm: tuple[float, ...]
    aupro_limit: float = Field(gt=0, le=1)
    connectivity: Literal["full", "faces"]
    smallest_component: int = Field(default=0, ge=0, le=GRID**2)
    conventions: dict[str, str]

    @field_validator("rules")
    @classmethod
    def _known(cls, rules: tuple[str, ...]) -> tuple[str, ...]:
        for rule in rules:
            parse_rule(rule)
        return rules

    @model_validator(mode="after")
    def _headline_is_a_rule(self) -> Protocol:
        if self.headline not in self.rules:
            raise ValueError(f"headline {self.headline} is not among the rules")
        return self

    @property
    def hash(self) -> str:
        """Hash of the whole content; fields added later count only if not at their default."""
        return stable_hash(self.model_dump(mode="json", exclude_defaults=True))

    @property
    def threshold_rules(self) -> tuple[Rule, ...]:
        """The rules as objects."""
        return tuple(parse_rule(key) for key in self.rules)


def load_protocol(name: str) -> Protocol:
    """Loads ``experiments/protocols/NAME.yaml``.

    Raises:
        UnknownName: If there is no such protocol.
        DataError: If the file is malformed.
    """
    names = experiment_names("protocols")
    if name not in names:
        raise UnknownName("protocol", name, names)
    file = experiment_file("protocols", name)
    try:
        protocol = Protocol.model_validate(read_yaml(file, "Repair the file."))
    except ValidationError as error:
        raise DataError(
            f"Protocol file {file.name} cannot be read: {cut(str(error), 300)}.", "Repair the file."
        ) from error
    if protocol.name != name:
        raise DataError(f"Protocol file {file.name} contains the name '{protocol.name}'.", "Make the two agree.")
    return protocol
