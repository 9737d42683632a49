"""Scores stored maps and writes the tables of a record and overview.png. Needs no model."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from uadbench.core.roles import Role
from uadbench.data.simulation.synthetic import ForeignPatches
from uadbench.data.storage.store import Item, Pixels, Store
from uadbench.evaluation.cases import Cases, held
from uadbench.evaluation.protocol import headline
from uadbench.evaluation.protocol.protocol import Protocol, load_protocol
from uadbench.evaluation.protocol.thresholds import chosen_by_masks, healthy_fpr_thresholds
from uadbench.evaluation.scoring.gaps import oracle_gap, protocol_gap
from uadbench.evaluation.scoring.postprocess import VERSION as LADDER_VERSION
from uadbench.evaluation.scoring.postprocess import choose_ladder, ladder_on_test
from uadbench.evaluation.scoring.score import Evaluation, score
from uadbench.records.layout import hash_files
from uadbench.runner.scoring.overview import draw_overview
from uadbench.runner.storage.run_folder import RunFolder
from uadbench.runner.storage.stored_cases import StoredCases

GAP_BETWEEN = (headline.STRICT, "paper-v1")
SYNTHETIC = "synthetic"
LESION_PATIENT = "lesion-patient"
LOWEST = float(np.finfo(np.float32).min)


def score_run(
    train: Store,
    test: Store,
    folder: RunFolder,
    protocol: Protocol,
    seed: int,
    *,
    present_only: bool = False,
    picture: bool = True,
) -> tuple[Evaluation, dict[str, str]]:
    """Scores the maps of a run.

    Args:
        train: Store of calib and val.
        test: Store of test.
        folder: The run.
        protocol: Rules.
        seed: Seed of the bootstrap.
        present_only: Whether parts without stored maps are skipped (external systems); otherwise they are an error.
        picture: Whether to draw overview.png.

    Returns:
        The evaluation, and the hashes of maps, cases, curves and weights.
    """
    stored: dict[str, Cases] = {
        name: StoredCases(pixels, items, folder.maps / name, masks=True)
        for name, (pixels, items) in scored_parts(train, test).items()
        if not present_only or (folder.maps / name).exists()
    }
    test_cases = stored[Role.TEST.value]
    cases = {name: part if part is test_cases else held(part) for name, part in stored.items()}
    evaluation = score(
        protocol,
        cases.get(Role.CALIB.value, []),
        test_cases,
        seed=seed,
        synthetic=cases.get(SYNTHETIC),
        val=cases.get(Role.VAL.value),
    )
    evaluation = replace(evaluation, threshold_labels=labels_of(evaluation, train))
    folder.write("cases.csv", lambda path: evaluation.cases.to_csv(path, index=False, lineterminator="\n"))
    folder.write_text("curves.json", json.dumps(evaluation.curves, indent=1, sort_keys=True, allow_nan=False))
    cases[Role.TEST.value] = held(test_cases)  # read a dozen times from here on, without images
    extras = (
        ("ladder.json", ladder_of(protocol, cases, seed)),
        ("gaps.json", gaps_of(evaluation, cases, seed)),
        ("thresholds.json", thresholds_of(evaluation, protocol)),
    )
    for name, content in extras:
        folder.write_text(name, json.dumps(content, indent=1, allow_nan=False))
    if picture:
        threshold = evaluation.thresholds.get(headline.RULE)
        folder.write("overview.png", lambda path: draw_overview(path, test_cases, evaluation.cases, threshold))
    return evaluation, hash_files(folder.path)


def labels_of(evaluation: Evaluation, train: Store) -> dict[str, str]:
    """Returns the labels that each applied rule consumed, with the lesion patients whose masks chose calib slices."""
    calib = train.role(Role.CALIB) if train.manifest.health_masks else []
    sick = {item.patient for item in calib if item.kind == LESION_PATIENT}
    told = evaluation.threshold_labels
    return {rule: chosen_by_masks(len(sick)) if sick and label == "none" else label for rule, label in told.items()}


def thresholds_of(evaluation: Evaluation, protocol: Protocol) -> dict[str, Any]:
    """Returns the headline rule and the threshold of each applied rule (``map > threshold`` is lesion)."""
    # A threshold below every value may be minus infinity, which JSON does not know.
    values = {rule: max(value, LOWEST) for rule, value in evaluation.thresholds.items()}
    return {"headline": protocol.headline, "values": values}


def ladder_of(protocol: Protocol, cases: Mapping[str, Cases], seed: int) -> dict[str, Any] | None:
    """Returns the gain of post-processing tuned on synthetic lesions, or else on val; None without either."""
    tuned_on = next((name for name in (SYNTHETIC, Role.VAL.value) if name in cases), None)
    if tuned_on is None or Role.CALIB.value not in cases:
        return None
    rungs = choose_ladder(cases[Role.CALIB.value], cases[tuned_on], rate=headline.RATE)
    steps = ladder_on_test(rungs, cases[Role.TEST.value], protocol, seed)
    return {"version": LADDER_VERSION, "tuned_on": tuned_on, "rule": headline.RULE, "steps": steps}


def gaps_of(evaluation: Evaluation, cases: Mapping[str, Cases], seed: int) -> dict[str, Any]:
    """Returns oracle gap and protocol gap; None if there is no label-free threshold."""
    strict, paper = (load_protocol(name) for name in GAP_BETWEEN)
    calib = cases.get(Role.CALIB.value)
    gap = None
    if calib is not None:
        threshold = healthy_fpr_thresholds(calib, [headline.RATE])[0]
        gap = protocol_gap(strict, paper, threshold, cases[Role.TEST.value])
    return {"oracle_gap": oracle_gap(evaluation.cases, headline.RULE, strict, seed), "protocol_gap": gap}


def scored_parts(train: Store, test: Store) -> dict[str, tuple[Pixels, list[Item]]]:
    """Returns the parts that are predicted and scored, by name: calib, synthetic, val and test, if present."""
    parts: dict[str, tuple[Pixels, list[Item]]] = {}
    calib = train.role(Role.CALIB)
    if calib:
        patches = ForeignPatches(train, calib)
        parts[Role.CALIB.value] = (train, calib)
        parts[SYNTHETIC] = (patches, patches.items)
    if train.role(Role.VAL):
        parts[Role.VAL.value] = (train, train.role(Role.VAL))
    parts[Role.TEST.value] = (test, test.role(Role.TEST))
    return parts
