"""Each phantom version is one set of images: records on different images of that version are not shown together."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from uadbench.core.phantom_fingerprint import committed_phantom
from uadbench.core.record import DatasetPart
from uadbench.records.read import Entry, Refusal


def one_phantom_per_version(entries: Sequence[Entry]) -> tuple[list[Entry], list[Refusal]]:
    """Returns the records to show, and those refused because the phantom of their version has another fingerprint.

    If records of one version disagree, those with the committed fingerprint are kept; if that is
    unknown, none is.
    """
    found: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
    for entry in entries:
        for part in _phantoms(entry):
            found[part.name, part.version].add(part.fingerprint)
    disputed = {
        key: known.of_version(key[1]) if (known := committed_phantom(key[0])) else None
        for key, fingerprints in found.items()
        if len(fingerprints) > 1
    }
    kept: list[Entry] = []
    refusals: list[Refusal] = []
    for entry in entries:
        wrong = [
            part
            for part in _phantoms(entry)
            if (part.name, part.version) in disputed and part.fingerprint != disputed[part.name, part.version]
        ]
        if wrong:
            refusals.append(Refusal(entry.file.name, _reason(wrong[0], disputed[wrong[0].name, wrong[0].version])))
        else:
            kept.append(entry)
    return kept, refusals


def _phantoms(entry: Entry) -> list[DatasetPart]:
    parts = [entry.record.dataset, *([entry.record.test_on] if entry.record.test_on else [])]
    return [part for part in parts if part.source == "phantom"]


def _reason(part: DatasetPart, known: str | None) -> str:
    there = f"that version has {known[:12]}" if known else "records disagree on it, and none is committed"
    return f"phantom {part.name} version {part.version} with fingerprint {part.fingerprint[:12]}: {there}; run it again"
