"""Values that a method's authors published by modality, and how they are looked up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

MODALITIES = ("mr-flair", "mr-t1", "mr-t1c", "mr-t2", "mr", "ct", "us", "other")
"""Names for the modality of a user's own images."""

TRAINED = ("standard", "paper")  # presets whose networks are trained long enough for the published inference


@dataclass(frozen=True)
class PublishedValues:
    """Values published for one modality and organ. Lengths refer to the 128 x 128 grid.

    Attributes:
        modality: Modality and organ, e.g. "mr-brain-flair" (``StoreManifest.modality``).
        source: Where the values are stated.
        chosen: How they were chosen, in words that follow "published, ".
        noise: Values of the noise, for every preset.
        inference: Values of prediction, for ``standard`` and ``paper``: with a network that was trained for minutes,
            later steps and more stages reduce precision.
        training: Values of the training, for ``paper``.
        sign: Key of ``noise`` for the sign of a lesion, as a tuple. A given polarity overrides it, and it
            applies only to this organ.
        cohorts: Cohorts whose lesions were used to choose the values.
    """

    modality: str
    source: str
    chosen: str
    noise: Mapping[str, Any]
    inference: Mapping[str, Any]
    training: Mapping[str, Any]
    sign: str = ""
    cohorts: frozenset[str] = field(default_factory=frozenset[str])


@dataclass(frozen=True)
class Applied:
    """Published values that apply to a job.

    Attributes:
        values: Config values.
        origin: One line: for which modality, by whom, how chosen.
        cohorts: Cohorts whose lesions were used to choose them.
    """

    values: Mapping[str, Any]
    origin: str
    cohorts: frozenset[str]


NOTHING = Applied({}, "", frozenset())


def applied(table: Sequence[PublishedValues], preset: str, modality: str, polarity: int) -> Applied:
    """Returns the published values that apply to a preset on images of a modality.

    Images of another or an unknown organ get the values of their modality but not the sign of its lesions;
    MR without a sequence gets those of FLAIR. An MR sequence without published values gets none.

    Args:
        table: The published values.
        preset: Name of the preset.
        modality: Modality of the dataset, "" if unknown.
        polarity: Sign of the lesions given by the dataset or the user, 0 if unknown.
    """
    found = _find(table, modality)
    if found is None:
        return NOTHING
    exact = found.modality == modality
    values = dict(found.noise)
    if preset in TRAINED:
        values |= found.inference
    if preset == "paper":
        values |= found.training
    if found.sign and (not exact or (polarity and values[found.sign] != (polarity,))):
        del values[found.sign]
    taken = "" if exact else f", taken for {modality}"
    return Applied(values, f"published for {found.modality}{taken} ({found.source}), {found.chosen}", found.cohorts)


def _find(table: Sequence[PublishedValues], modality: str) -> PublishedValues | None:
    kind, *rest = modality.split("-")
    sequence = rest[-1] if kind == "mr" and rest else "flair"
    for row in table:
        if row.modality == modality:
            return row
    for row in table:
        theirs = row.modality.split("-")
        if theirs[0] == kind and (kind != "mr" or theirs[-1] == sequence):
            return row
    return None
