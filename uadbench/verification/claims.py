"""Checks the claims of a record against the registered method and dataset.

A record and its job have the same author, so neither confirms the other. Supervision, version,
label and preset come from the registered class and the resolution of its config; version, recipe and source of a
phantom from the registered dataset. Claims that need the data (``verify_run``) or the tables (``check_record``) are
checked there.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, get_args

from uadbench.core.catalog import DATASETS, METHODS
from uadbench.core.config import MethodConfig
from uadbench.core.dataset import Recipe
from uadbench.core.errors import UserError
from uadbench.core.job import EXTERNAL
from uadbench.core.phantom_fingerprint import committed_phantom
from uadbench.core.record import IMPORTED, DatasetPart, MethodPart, ProtocolPart, Record
from uadbench.core.roles import Supervision
from uadbench.evaluation.protocol.protocol import load_protocol
from uadbench.runner.planning.plan import method_part, published_values
from uadbench.runner.planning.tuned_config import Tuned, load_tuned

LONGEST = 60


@dataclass(frozen=True)
class Claims:
    """Result of comparing a record with the registry.

    Attributes:
        problems: Claims that contradict it, one line each.
        superseded: Why the rest cannot be checked: an earlier version of the method or of the data; otherwise "".
    """

    problems: list[str]
    superseded: str = ""


def check_claims(record: Record) -> Claims:
    """Compares a record with the registered method and datasets.

    Args:
        record: An untrusted record.
    """
    problems: list[str] = []
    superseded: list[str] = []
    for part in (record.dataset, *([record.test_on] if record.test_on else [])):
        problems += _check_data(part, superseded)
    problems += _check_method(record, superseded)
    if earlier := earlier_rules(record.protocol):
        superseded.append(earlier)
    return Claims(problems, "; ".join(dict.fromkeys(superseded)))


def earlier_rules(part: ProtocolPart) -> str:
    """Returns a note if a record uses an earlier version of its protocol, otherwise ""."""
    try:
        rules = load_protocol(part.name)
    except UserError:
        return ""
    if not _is_earlier(part.version, rules.version):
        return ""
    return f"scored under version {part.version} of {part.name}, the current one is {rules.version}"


def vouch(record: Record) -> tuple[list[str], str]:
    """Returns the claim check for ``read_entries``."""
    claims = check_claims(record)
    return claims.problems, claims.superseded


def tuned_settings(method: MethodPart, dataset: str) -> Tuned | None:
    """Returns the tuned settings that a label claims, None if it claims none.

    Raises:
        UserError: If there are no tuned settings of that method for that dataset.
    """
    settings = method.label.removeprefix(f"{method.name}[").rstrip("]").split(",")
    return load_tuned(method.name, dataset) if settings[0] == "tuned" else None


def _check_method(record: Record, superseded: list[str]) -> list[str]:
    claimed = record.method
    if claimed.preset == EXTERNAL:
        if claimed.name in METHODS.names():
            return [f"record.json: {claimed.name} is a method of this benchmark, not an external system"]
        named = claimed.label == claimed.name
        return [] if named else ["record.json: the label of an external system must be its name"]
    try:
        kind = METHODS.load(claimed.name)
    except UserError as error:
        return [f"record.json: {error.message} Its claims cannot be checked: install its plug-in"]
    if claimed.supervision != kind.supervision.value:
        return [_differs("method.supervision", claimed.supervision, kind.supervision.value)]
    if not _is_earlier(claimed.version, kind.version):
        # A record of format 1 may contain a setting since removed from its method.
        known = kind.config_type.model_fields
        gone = sorted(claimed.config.keys() - known.keys()) if record.schema_version == 1 else []
        if gone:
            superseded.append(f"made with settings that {claimed.name} no longer has: {', '.join(gone)[:LONGEST]}")
        return [] if gone else _check_settings(record)
    superseded.append(f"made with version {claimed.version} of {claimed.name}, the current one is {kind.version}")
    return []


def _check_settings(record: Record) -> list[str]:
    """Resolves the config like a run, and compares everything derived from it."""
    claimed, ledger = record.method, record.ledger
    try:
        tuned = tuned_settings(claimed, record.dataset.name)
        config, part = method_part(claimed.name, claimed.preset, record.dataset, tuned, claimed.config)
    except UserError as error:
        return [f"record.json: method: {error.message}"]
    # A record may predate a setting since added to its method, whose default changes nothing.
    added = {
        key: value
        for key, value in part.config.items()
        if key not in claimed.config and (record.schema_version == 1 or value == _default(config, key))
    }
    claimed = claimed.model_copy(update={"config": {**added, **claimed.config}})
    problems = list(_differences("method", part.model_dump(), claimed.model_dump()))
    if record.status != "done":
        return problems
    published = published_values(type(config), claimed.preset, record.dataset).origin
    if ledger.published != published:
        problems.append(_differs("ledger.published", ledger.published, published))
    if ledger.tuning_labels != (labels := tuned.labels if tuned else "none"):
        problems.append(_differs("ledger.tuning_labels", ledger.tuning_labels, labels))
    if (ledger.checkpoint_rule == IMPORTED) != bool(config.imported):
        problems.append(
            _differs("ledger.checkpoint_rule", ledger.checkpoint_rule, IMPORTED if config.imported else "last")
        )
    used, supervised = ledger.train_pixel_labels > 0, part.supervision == Supervision.MASKS
    if used < supervised or (used > supervised and record.dataset.source == "phantom"):
        problems.append(f"record.json: ledger.train_pixel_labels does not go with supervision {part.supervision}")
    seen = config.images_seen * max(1, len(record.folds))  # each fold is a fit
    if record.cost is None:
        problems.append("record.json: cost is missing, which every run has")
    elif record.cost.train_images_seen != seen:
        problems.append(_differs("cost.train_images_seen", record.cost.train_images_seen, seen))
    return problems


def _check_data(part: DatasetPart, superseded: list[str]) -> list[str]:
    try:
        kind = DATASETS.load(part.name)
    except UserError as error:
        return [f"record.json: {error.message}"]
    known = committed_phantom(part.name) if part.source == "phantom" else None
    fingerprint = known.of_version(part.version) if known else None
    problems: list[str] = []
    if fingerprint is not None and part.fingerprint != fingerprint:
        problems.append(_differs("dataset.fingerprint", part.fingerprint, fingerprint))
    if _is_earlier(part.version, kind.version):
        # Records of an earlier phantom with a committed fingerprint were checked while it could be simulated.
        if fingerprint is None:
            superseded.append(f"made on version {part.version} of {part.name}, the current one is {kind.version}")
        return problems
    if part.version != kind.version:
        problems.append(_differs("dataset.version", part.version, kind.version))
    if part.source != "phantom":
        # A recipe may have a suffix: its layout ("strict-momot-v2"), or its folds ("strict-4-folds").
        if part.recipe.partition("-")[0] not in get_args(Recipe):
            problems.append(f"record.json: {part.source} data have no recipe {part.recipe[:LONGEST]!r}")
        return problems
    try:
        recipe = f"phantom-{kind().phantom_key()}"
    except UserError as error:
        return [*problems, f"record.json: {error.message}"]
    if part.recipe != recipe:
        problems.append(_differs("dataset.recipe", part.recipe, recipe))
    return problems


def _default(config: MethodConfig, key: str) -> Any:
    return type(config).model_fields[key].get_default(call_default_factory=True)


def _differences(what: str, ours: dict[str, Any], theirs: dict[str, Any]) -> Iterator[str]:
    for key, value in ours.items():
        if key == "config":
            yield from _differences(f"{what}.config", value, theirs[key])
        elif key not in theirs or _written(theirs[key]) != _written(value):
            yield _differs(f"{what}.{key}", theirs.get(key), value)


def _written(value: Any) -> str:
    """Returns a value as the id hashes it: 20.0 is another job than 20."""
    return json.dumps(value, sort_keys=True)


def _differs(what: str, claimed: object, registered: object) -> str:
    return f"record.json: {what} is {str(claimed)[:LONGEST]}, the registered class gives {registered}"


def _is_earlier(claimed: str, present: str) -> bool:
    return claimed.isdecimal() and present.isdecimal() and len(claimed) <= len(present) and int(claimed) < int(present)
