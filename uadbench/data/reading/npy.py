"""The one reader of NPY files that somebody else wrote: real numbers alone, mapped and not read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uadbench.core.errors import DataError

_REAL = "fiub"


def map_npy(file: Path, remedy: str = "Save it with numpy.save.") -> NDArray[Any]:
    """Maps an NPY file: what a header claims takes no memory, and a file that is shorter is refused.

    Args:
        file: The file; an archive of arrays (NPZ) is none.
        remedy: What to do if it cannot be read.

    Returns:
        Its array of any shape and of a boolean, integer or floating type; values may be NaN or infinite.

    Raises:
        DataError: If it is missing, damaged, or holds something else.
    """
    try:
        with np.errstate(over="ignore"):  # of the size that a header claims
            array: NDArray[Any] = np.lib.format.open_memmap(file, mode="r")
    except Exception as error:  # a header is parsed as Python, and may end that parser in many ways
        raise DataError(f"{file} is not a readable NPY array.", remedy) from error
    if array.dtype.kind not in _REAL:
        raise DataError(f"{file} holds {str(array.dtype)[:60]} instead of real numbers.", remedy)
    return array
