"""The table of cases beside a record, as somebody else may have written it: names as text, all else as numbers."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import numpy as np
import pandas as pd

NAMES = ("case", "patient", "kind", "cohort")
MOST_COLUMNS = 300


def parse_cases(content: bytes, needed: set[str]) -> pd.DataFrame:
    """Reads a table of cases.

    A case may be called "NA" or "null". Numbers may be missing where a case has none.

    Args:
        content: A CSV file.
        needed: Columns that it must have.

    Raises:
        ValueError: If it is no table, columns are missing or too many, a value is of another type, or a case has no
            name or stands there twice.
    """
    columns = list(pd.read_csv(BytesIO(content), nrows=0).columns)
    if len(columns) > MOST_COLUMNS or not set(columns) >= needed:
        lacking = ", ".join(sorted(needed - set(columns)))
        raise ValueError(f"it has {len(columns)} columns" + (f" and lacks {lacking}" if lacking else ""))
    numbers = {name: np.float64 for name in columns if name not in (*NAMES, "lesion")}
    kinds: dict[str, Any] = {**dict.fromkeys(NAMES, str), "lesion": np.bool_, **numbers}
    missing = {name: [""] for name in numbers}
    # Without index_col=False the first column of a table with too long rows becomes its index.
    table = pd.read_csv(BytesIO(content), dtype=kinds, keep_default_na=False, na_values=missing, index_col=False)
    for column in ("case", "patient"):
        if column in needed and (table[column] == "").any():
            raise ValueError(f"a {column} has no name")
    if "case" in needed and not table["case"].is_unique:
        raise ValueError("a case occurs twice")
    if np.isinf(table[list(numbers)].to_numpy(np.float64)).any():
        raise ValueError("a number is infinite")
    return table
