"""What is wrong with arguments, told before torch or data are touched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from uadbench.core.catalog import DATASETS, config_type
from uadbench.core.errors import UnknownName, UserError, cut
from uadbench.core.experiments import experiment_names
from uadbench.core.files import part_of
from uadbench.core.job import check_seed

NAME_BYTES = 255
"""Bytes of a file name, on every file system in use."""


def check_arguments(
    *,
    method: str,
    datasets: Sequence[str],
    preset: str,
    seed: int,
    device: str,
    precision: str = "auto",
    protocol: str = "strict-v1",
    overrides: Mapping[str, Any] | None = None,
    sources: Sequence[str] = (),
    out: Path | None = None,
) -> None:
    """Checks names, values and places.

    Raises:
        UserError: Naming the argument that is wrong, and the remedy.
    """
    check_seed(seed)
    for option, value, known in (
        ("device", device, ("auto", "cpu", "cuda")),
        ("precision", precision, ("auto", "fp32", "bf16")),
    ):
        if value not in known:
            raise UserError(f"Unknown {option} '{cut(value)}'.", f"Use {known[0]}, {known[1]} or {known[2]}.")
    for name in datasets:
        if name not in DATASETS.names():
            raise UnknownName("dataset", name, DATASETS.names())
    if protocol not in experiment_names("protocols"):
        raise UnknownName("protocol", protocol, experiment_names("protocols"))
    config_type(method).resolve(preset, overrides=overrides)
    for source in sources:
        if source != "phantom":
            check_source(source)
    if out is not None:
        check_out(out)


def check_source(source: str) -> None:
    """Checks that a prepared dataset may be there.

    Raises:
        UserError: If there is no folder.
    """
    try:
        found = Path(source).is_dir()
    except (OSError, ValueError):  # too long, or a null character
        found = False
    if not found:
        raise UserError(f"{cut(source)} holds no prepared dataset: it is not a folder.", "Check --source.")


def check_out(out: Path) -> None:
    """Checks that a folder can be made or is there; nothing stays behind.

    Raises:
        UserError: If not.
    """
    try:
        missing = [folder for folder in (out, *out.parents) if not folder.exists()]
        nearest = missing[-1].parent if missing else out
        if not nearest.is_dir():
            raise UserError(f"--out {cut(str(nearest), 200)} is not a folder.", "Choose another --out.")
        if any(len(folder.name.encode()) > NAME_BYTES for folder in missing):
            raise UserError(f"--out {cut(str(out), 200)} is too long.", "Choose another --out.")
        # Under a name of its own: the processes of one run check the same --out at the same time.
        if missing:
            probe = part_of(nearest / missing[-1].name)
            probe.mkdir()
            probe.rmdir()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is not a path"
        raise UserError(f"--out {cut(str(out), 200)} cannot be used: {reason}.", "Choose another --out.") from None
