"""Keeps freed memory with the process: networks ask for the same large blocks again and again.

glibc gives large blocks back to the system at once, and each new one costs page faults: 138 000 of them for 16 images
of ``anoddpm`` in preset quick, none with these settings (docs/explanation/performance.md).
"""

from __future__ import annotations

import ctypes
import os
import sys

# Names of malloc.h: which parameter, and a value.
M_TRIM_THRESHOLD, NEVER = -1, 2**31 - 1
M_MMAP_MAX, NONE = -4, 0


def keep_memory() -> bool:
    """Sets the allocator where it is glibc's and nobody has set it by the environment; tells whether it did."""
    if not sys.platform.startswith("linux") or any(name.startswith("MALLOC_") for name in os.environ):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:  # musl
        return False
    return bool(mallopt(M_TRIM_THRESHOLD, NEVER) and mallopt(M_MMAP_MAX, NONE))
