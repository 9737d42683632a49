"""Checks of command-line arguments that run before torch or data are loaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from uadbench.core.catalog import DATASETS, config_type
from uadbench.core.errors import UnknownName, UserError, cut
from uadbench.core.experiments import experiment_names
from uadbench.core.files import part_of
from uadbench.core.job import Compile, check_seed

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
    check_device(device)
    if precision not in ("auto", "fp32", "bf16"):
        raise UserError(f"Unknown precision '{cut(precision)}'.", "Use auto, fp32 or bf16.")
    config_type(method).resolve(preset, overrides=overrides)
    check_data(datasets, protocol, sources, out)


def check_compile(wanted: str) -> Compile:
    """Returns the value of ``--compile``.

    Raises:
        UserError: If it is another word.
    """
    for known in get_args(Compile):
        if wanted == known:
            return known
    raise UserError(f"Unknown value of --compile '{cut(wanted)}'.", "Use auto, on or off.")


def check_device(device: str) -> None:
    """Checks the name of a device, not whether it exists.

    Raises:
        UserError: If there is no such name.
    """
    if device not in ("auto", "cpu", "cuda"):
        raise UserError(f"Unknown device '{cut(device)}'.", "Use auto, cpu or cuda.")


def check_data(datasets: Sequence[str], protocol: str, sources: Sequence[str], out: Path | None) -> None:
    """Checks which data are requested, under which rules, and where the result is written.

    Raises:
        UserError: Naming the argument that is wrong, and the remedy.
    """
    for name in datasets:
        if name not in DATASETS.names():
            raise UnknownName("dataset", name, DATASETS.names())
    if protocol not in experiment_names("protocols"):
        raise UnknownName("protocol", protocol, experiment_names("protocols"))
    check_sources(*sources)
    if out is not None:
        check_out(out)


def check_sources(*sources: str | None) -> None:
    """Checks given folders of prepared data; None and the phantom need none.

    Raises:
        UserError: If one of them is not a folder.
    """
    for source in sources:
        if source not in (None, "phantom"):
            check_source(source)


def check_source(source: str) -> None:
    """Checks that a folder may contain a prepared dataset.

    Raises:
        UserError: If there is no folder.
    """
    try:
        found = Path(source).is_dir()
    except (OSError, ValueError):  # too long, or a null character
        found = False
    if not found:
        raise UserError(f"{cut(source)} contains no prepared dataset: it is not a folder.", "Check --source.")


def check_out(out: Path) -> None:
    """Checks that a folder exists or can be created, without leaving anything behind.

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
        # Under a unique name: the processes of one run check the same --out at the same time.
        if missing:
            probe = part_of(nearest / missing[-1].name)
            probe.mkdir()
            probe.rmdir()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is not a path"
        raise UserError(f"--out {cut(str(out), 200)} cannot be used: {reason}.", "Choose another --out.") from None
