"""Seconds of ``uadbench report`` for 200 records: python -m benchmarks.report_time [--records N]

Takes the committed records with their tables, in order of path and again from the first where there are fewer (a copy
lies in a folder of its own, and counts as a record to read and check). Prints seconds by the clock, which only idle
cores make comparable, and seconds of processor time, which other work lengthens less. The goal is 10 s.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from itertools import cycle, islice
from pathlib import Path

from benchmarks.support.ratios import machine
from uadbench.records.layout import EARLIER

COMMITTED = Path("leaderboard/records")
GOAL = 10.0


def gather(source: Path, count: int, target: Path) -> int:
    """Copies ``count`` records with the files beside them below ``target``; returns how many are different.

    Raises:
        FileNotFoundError: If there is no record.
    """
    records = sorted(path for path in source.rglob("*.json") if len(path.suffixes) == 1)
    if not records:
        raise FileNotFoundError(f"no record below {source}")
    for number, record in enumerate(islice(cycle(records), count)):
        folder = target / f"{number // len(records)}" / record.relative_to(source).parent
        folder.mkdir(parents=True, exist_ok=True)
        for file in record.parent.glob(f"{record.stem}.*"):
            shutil.copyfile(file, folder / file.name)
    return min(count, len(records))


def timed(count: int) -> tuple[float, float, int]:
    """Returns seconds by the clock and of the processor, and how many of the records are different."""
    with tempfile.TemporaryDirectory() as scratch:
        records, out = Path(scratch) / "records", Path(scratch) / "out"
        different = gather(COMMITTED, count, records)
        shutil.copyfile(COMMITTED.parent / EARLIER, Path(scratch) / EARLIER)  # without it most records have no rank
        out.mkdir()
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        began = time.monotonic()
        command = [sys.executable, "-m", "uadbench", "report", "--records", str(records), "--out", str(out)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        wall = time.monotonic() - began
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, different


def main() -> int:
    """Returns 1 where the cores are idle and the goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=200)
    options = parser.parse_args()
    load = os.getloadavg()[0]
    wall, busy, different = timed(options.records)
    print(f"{machine()}, load {load:.1f}")
    print(f"report of {options.records} records ({different} different): {wall:.1f} s, {busy:.1f} s of processor time")
    if load > 0.5 * (os.cpu_count() or 1):
        print("The cores were shared: the seconds by the clock say nothing.")
        return 0
    return 0 if wall <= GOAL else 1


if __name__ == "__main__":
    sys.exit(main())
