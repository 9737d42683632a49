"""Compares two stored results of ``make bench``: python benchmarks/compare.py BEFORE.json AFTER.json

Exits with 1 if a ratio fell by more than 10 %. Ratios are compared, not times: they carry over between loads.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

TOLERANCE = 0.10


def regressions(before: dict[str, float], after: dict[str, float]) -> list[str]:
    """Returns the works whose ratio fell by more than the tolerance."""
    return [work for work, ratio in after.items() if work in before and ratio < before[work] * (1 - TOLERANCE)]


def main() -> int:
    """Prints every work with both ratios."""
    if len(sys.argv) != 3:
        print(__doc__)
        return 2
    stored = [json.loads(Path(name).read_text()) for name in sys.argv[1:]]
    before, after = ({row["work"]: float(row["ratio"]) for row in part["rows"]} for part in stored)
    slower = regressions(before, after)
    for work, ratio in after.items():
        mark = "  SLOWER" if work in slower else ""
        print(f"{work:<58} {before.get(work, float('nan')):>7.2f} x -> {ratio:>7.2f} x{mark}")
    return 1 if slower else 0


if __name__ == "__main__":
    sys.exit(main())
