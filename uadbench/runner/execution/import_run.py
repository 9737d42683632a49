"""A run with weights from an external checkpoint: nothing is trained, the rest is as in any run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from uadbench.core.catalog import METHODS
from uadbench.core.errors import UserError
from uadbench.core.method import TakesCheckpoints
from uadbench.core.record import Record
from uadbench.data.storage.store import Store
from uadbench.nn.guided_checkpoint import read_tensors
from uadbench.records.layout import VERIFICATION, sha256_of, write_level
from uadbench.runner.execution.run import build_method, execute
from uadbench.runner.execution.shared_fit import SECONDS_FILE
from uadbench.runner.planning.plan import plan_run
from uadbench.runner.storage.run_folder import RunFolder

PRESET = "paper"
"""Imported networks were trained as published, so they use the published inference settings."""


def import_run(
    file: Path,
    *,
    method: str,
    store: Store,
    root: Path,
    protocol: str = "strict-v1",
    overrides: Mapping[str, Any] | None = None,
    seed: int = 0,
    device: str = "auto",
    fresh: bool = False,
    console: Console | None = None,
) -> tuple[Record, Path]:
    """Creates a run from a checkpoint: predicts, scores, and stores it with verification ``reported``.

    Widths, levels, blocks and attention levels follow from the file; image size, schedule and all
    inference settings from preset ``paper``, the values published for the data's modality, and ``overrides``.

    Args:
        file: The checkpoint.
        method: Name of the method.
        store: The data.
        root: Folder under which ``<id>/`` is made.
        protocol: Rules of scoring.
        overrides: Config values that override all others.
        seed: Seed of the inference noise.
        device: auto, cpu or cuda.
        fresh: Repeat a run even if it is stored.
        console: Console for progress; None for silence.

    Returns:
        The record and its folder.

    Raises:
        UserError: If the method cannot import checkpoints, or a value is not allowed.
        DataError: If the checkpoint is damaged, contains code, or is for another network. Nothing is written then.
    """
    kind = METHODS.load(method)
    if not issubclass(kind, TakesCheckpoints):
        takes = [name for name in METHODS.names() if issubclass(METHODS.load(name), TakesCheckpoints)]
        raise UserError(f"{method} cannot import checkpoints.", f"Methods that do: {', '.join(takes)}.")
    state = read_tensors(file)
    values = dict(overrides or {})
    size = kind.config_type.resolve(PRESET, overrides=values).image_size
    values = {**kind.checkpoint_settings(state, size), **values, "checkpoint": sha256_of(file)[:16]}
    plan = plan_run(
        method=method,
        train=store,
        preset=PRESET,
        protocol=protocol,
        overrides=values,
        seed=seed,
        precision="fp32",
    )
    built = build_method(plan, torch.device("cpu"))
    if not isinstance(built, TakesCheckpoints):
        raise UserError(f"{method} cannot import checkpoints.")
    built.take_checkpoint(state)
    folder = RunFolder(root / plan.job.id)
    with folder.locked(fresh=fresh):
        if not folder.weights_file.exists():
            folder.write_text(SECONDS_FILE, "0.000")
            folder.save_weights(built.state_dict())
    record, path, stored = execute(plan, root=root, device=device, console=console)
    if not stored:
        write_level(path / VERIFICATION, "reported")
    return record, path
