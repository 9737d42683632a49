"""Keeps freed memory in the process, because networks request the same large blocks repeatedly.

glibc returns large blocks to the system at once, and each new one causes page faults: 138 000 for 16 images
of ``anoddpm`` in preset quick, none with these settings (docs/explanation/performance.md).
"""

from __future__ import annotations

import ctypes
import os
import sys

# Parameters from malloc.h and their values.
M_TRIM_THRESHOLD, NEVER = -1, 2**31 - 1
M_MMAP_MAX, NONE = -4, 0


def keep_memory() -> bool:
    """Configures glibc's allocator unless the environment already does; returns whether it did."""
    if not sys.platform.startswith("linux") or any(name.startswith("MALLOC_") for name in os.environ):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:  # musl
        return False
    return bool(mallopt(M_TRIM_THRESHOLD, NEVER) and mallopt(M_MMAP_MAX, NONE))
