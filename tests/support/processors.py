"""Environments in which libraries act as on a processor that offers less. What this machine lacks stays untested."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from numpy._core._multiarray_umath import (  # pyright: ignore[reportMissingTypeStubs]
    __cpu_dispatch__,  # pyright: ignore[reportPrivateImportUsage]
    __cpu_features__,  # pyright: ignore[reportPrivateImportUsage]
)

FEATURES = [name for name in __cpu_dispatch__ if __cpu_features__[name]]
"""What NumPy picks by at run time and this machine has."""

PLAIN_NUMPY = {"NPY_DISABLE_CPU_FEATURES": " ".join(FEATURES)}

PLAIN_LIBM = {"GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX512F,-AVX2,-FMA,-FMA4,-AVX"}
"""glibc picks sin, cos, exp and log by what the processor offers, too."""

PLAIN_TORCH = {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41", "MKL_CBWR": "COMPATIBLE"}

PLAIN = {**PLAIN_NUMPY, **PLAIN_LIBM, **PLAIN_TORCH, "OPENBLAS_CORETYPE": "Nehalem"}
"""The least of what a processor of this kind offers."""

ROOT = Path(__file__).parents[2]


def python(*arguments: str, environment: dict[str, str]) -> str:
    """Returns what Python prints with these arguments, in one thread unless the environment says otherwise."""
    done = subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
