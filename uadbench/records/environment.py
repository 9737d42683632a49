"""The environment of a run: versions and commit; no host, user or path."""

from __future__ import annotations

import os
import platform
import resource
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import torch

import uadbench
from uadbench.core.numerics import PLAIN, Numerics
from uadbench.core.record import Environment

PACKAGES = ("torch", "torchvision", "timm", "numpy", "scipy", "scikit-learn", "lightning-fabric")


def environment(device: torch.device, numerics: Numerics, notes: Sequence[str] = ()) -> Environment:
    """Describes the current environment for a record; ``notes`` list its effects on the run."""
    versions = {"uadbench": uadbench.__version__, "python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"cpu ({torch.get_num_threads()} threads)"
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        name = f"{torch.distributed.get_world_size()} x {name}"
    return Environment(
        commit=_git("rev-parse", "HEAD") or "unknown",
        # Records of a suite are added to leaderboard/ while its later jobs run; no result depends on them.
        dirty=bool(_git("status", "--porcelain", "--", ".", ":(exclude)leaderboard")),
        device=name,
        precision=numerics.precision,
        layout=numerics.layout,
        compiled=numerics.compiled,
        versions=versions,
        notes=list(notes),
        cpu=cpu_features(),
        load=round(os.getloadavg()[0], 1) if device.type == "cpu" and hasattr(os, "getloadavg") else None,
    )


def recorded_numerics(env: Environment) -> Numerics:
    """Returns how a record says that its run computed; unknown words, as of an outside system, mean the plain way."""
    try:
        return Numerics.parse(f"{env.precision} {env.layout}{' compiled' if env.compiled else ''}")
    except ValueError:
        return PLAIN


def cpu_features() -> dict[str, str]:
    """Returns the architecture and the features that NumPy and torch use, as configured at their start."""
    found = np.show_config(mode="dicts")
    features: list[str] = found.get("SIMD Extensions", {}).get("found", []) if found else []
    return {
        "machine": platform.machine(),
        "numpy": " ".join(str(feature) for feature in features) or "baseline",
        "torch": torch.backends.cpu.get_cpu_capability(),
    }


def differing(there: Environment, here: Environment) -> list[str]:
    """Returns the differences between the environment of a record and this one: code, and the rest."""
    lines: list[str] = []
    if there.commit != here.commit or there.dirty or here.dirty:
        states = [f"{env.commit[:12]}{' with changes' if env.dirty else ''}" for env in (there, here)]
        lines.append(f"code: the record was made at commit {states[0]}, here is {states[1]}")
    pairs = [("device", there.device, here.device)]
    for theirs, ours in ((there.versions, here.versions), (there.cpu, here.cpu)):
        pairs += [(name, value, ours.get(name, "none")) for name, value in theirs.items()]
    told = [f"{name} {old} there and {new} here" for name, old, new in pairs if old != new]
    return [*lines, *([f"environment: {'; '.join(told)}"] if told else [])]


def peak_gb(device: torch.device) -> float:
    """Returns the peak memory of this process: of the device if it is a GPU, otherwise resident memory, in GB."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e9
    # ru_maxrss is in kilobytes on Linux and in bytes on macOS.
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9


def _git(*arguments: str) -> str:
    folder = Path(uadbench.__file__).resolve().parent.parent
    if not (folder / ".git").exists():
        return ""
    command = ["git", "-C", str(folder), *arguments]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()  # noqa: S603 (fixed words)
    except (OSError, subprocess.CalledProcessError):
        return ""
