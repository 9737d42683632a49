"""Freed memory stays with the process: the second large block costs hardly a page fault."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

CODE = """
import resource, numpy as np
from uadbench.runner.execution.allocator import keep_memory
print(keep_memory())
for turn in range(2):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    block = np.ones(16 << 20, np.uint8)
    del block
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only glibc's allocator is set")
def test_large_blocks_are_used_again() -> None:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    done = subprocess.run([sys.executable, "-c", CODE], env=clean, capture_output=True, text=True, check=True)
    kept, faults = done.stdout.split()
    assert kept == "True"
    assert int(faults) < 400, "4096 pages would be new without the setting"


@pytest.mark.skipif(sys.platform != "linux", reason="only glibc's allocator is set")
def test_what_the_environment_says_is_left_alone() -> None:
    done = subprocess.run(
        [sys.executable, "-c", CODE],
        env={**os.environ, "MALLOC_ARENA_MAX": "4"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split()[0] == "False"
