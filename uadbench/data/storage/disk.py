"""Writing to disks that may be full, read-only or not ours."""

from __future__ import annotations

import errno
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from uadbench.core.errors import DataError

FULL = (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def writing(folder: Path) -> Generator[None]:
    """Names the folder and the remedy where the system refuses to write; only writing belongs inside.

    Raises:
        DataError: If the disk is full, read-only, forbidden, or cannot hold a file of that size.
    """
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error) or type(error).__name__
        raise DataError(f"Cannot write to {folder}: {reason}.", _remedy(error)) from error


def _remedy(error: OSError) -> str:
    if error.errno in FULL:
        return "Free some space or choose another --out."
    if error.errno == errno.EFBIG:
        return "A limit on the size of files is in the way: raise it (ulimit -f) or choose another --out."
    return "Choose another --out."
