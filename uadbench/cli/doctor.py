"""``uadbench doctor``: what is installed, what is missing, and how to install it."""

from __future__ import annotations

import os
import platform
import re
import shutil
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distributions, version
from pathlib import Path

from uadbench.cli.terminal.console import to_stdout
from uadbench.core.errors import JobFailed, UserError

LOW_GB = 5.0
EXTRA = re.compile(r"^([A-Za-z0-9_.-]+)[^;]*;.*\bextra\s*==\s*['\"](\w+)['\"]")
SILENT = ("dev",)
"""Extras needed only for developing uadbench."""


def doctor() -> None:
    """Checks the environment: compatible packages, devices, precision, storage and optional dependencies."""
    from uadbench.core.catalog import DATASETS, METHODS

    _say("python", f"{platform.python_version()} on {platform.system()} {platform.machine()}")
    _say("uadbench", f"{version('uadbench')}, {len(METHODS.names())} methods, {len(DATASETS.names())} datasets")
    for problem in _packages():
        raise JobFailed(problem)
    for text in _devices():
        _say("device", text)
    problems = list(_storage())
    for extra, names in sorted(_extras().items()):
        missing = sorted(name for name in names if not _installed(name))
        told = f"all {len(names)} packages" if not missing else f"without {', '.join(missing)}"
        _say(f"[{extra}]", told if not missing else f"{told}: pip install 'uadbench[{extra}]'")
    problems += _plugins()
    _say("shell", "uadbench --install-completion completes commands and options")
    for problem in problems:
        _say("problem", problem)
    if problems:
        raise JobFailed(f"{len(problems)} problem{'s' if len(problems) > 1 else ''}, see above.")


def _say(what: str, text: str) -> None:
    to_stdout().out(f"{what:<11} {text}", highlight=False)


def _packages() -> Iterator[str]:
    """Yields problems with packages whose versions must match."""
    try:
        import timm
        import torch
        import torchvision
    except (ImportError, RuntimeError) as error:
        yield (
            f"torch, torchvision and timm are not compatible ({error}). "
            "Install them in one command: pip install -U torch torchvision timm"
        )
        return
    _say("packages", f"torch {torch.__version__}, torchvision {torchvision.__version__}, timm {timm.__version__}")


def _devices() -> Iterator[str]:
    import torch

    from uadbench.runner.execution.device import pick_device
    from uadbench.runner.execution.probe import bf16_pays

    device = pick_device("auto")
    threads, cores = (
        torch.get_num_threads(),
        len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count(),
    )
    yield f"CPU, {threads} threads on {cores} cores" + ("" if device.type == "cuda" else " (selected by auto)")
    if device.type == "cuda":
        for index in range(torch.cuda.device_count()):
            properties = torch.cuda.get_device_properties(index)
            yield f"cuda:{index} {properties.name}, {properties.total_memory / 1e9:.0f} GB"
    yield f"bfloat16 convolutions are {'faster' if bf16_pays(device) else 'not faster'} than float32 on {device}"


def _storage() -> Iterator[str]:
    """Reports free disk space, and yields problems with it."""
    from uadbench.core.cache import cache_folder

    for what, folder in (("phantoms", cache_folder()), ("runs", Path.cwd() / "runs")):
        there = next(parent for parent in (folder, *folder.parents) if parent.exists())
        free = shutil.disk_usage(there).free / 1e9
        _say("storage", f"{what}: {free:.0f} GB free")
        if not os.access(there, os.W_OK):
            yield f"cannot write to the folder of {what}: choose another --out, or set XDG_CACHE_HOME for phantoms"
        if free < LOW_GB:
            yield f"less than {LOW_GB:.0f} GB free for {what}"


def _extras() -> dict[str, set[str]]:
    """Returns the packages of each optional extra according to the installed metadata."""
    found: dict[str, set[str]] = {}
    # A folder left by an older build lists older extras: only installed metadata (with METADATA) count.
    known = list(distributions(name="uadbench"))
    installed = next((each for each in known if each.read_text("METADATA") is not None), known[0])
    for line in installed.requires or []:
        match = EXTRA.match(line)
        if match and match[2] not in SILENT:
            found.setdefault(match[2], set()).add(match[1])
    return found


def _installed(name: str) -> bool:
    try:
        version(name)
    except PackageNotFoundError:
        return False
    return True


def _plugins() -> Iterator[str]:
    """Loads plug-ins from other packages, and yields those that cannot be loaded."""
    from importlib.metadata import entry_points

    from uadbench.core.catalog import DATASETS, METHODS

    for registry in (METHODS, DATASETS):
        for point in entry_points(group=registry.package):
            try:
                registry.load(point.name)
            except UserError as error:
                yield str(error)
            else:
                _say("plug-in", f"{registry.kind} {point.name} from {point.value}")
