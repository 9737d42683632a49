"""Seconds of ``uadbench report`` for 200 records: python -m benchmarks.report_time [--records N]

Takes committed records with their tables, spread evenly over all, at their own paths and with the list of earlier
records: elsewhere they would be refused or unranked, and a report without rows takes no time. Prints seconds by the
clock, which only idle cores make comparable, and seconds of processor time, which other work lengthens less. The goal
is 10 s.
"""

from __future__ import annotations

import argparse
import csv
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.support.ratios import machine
from uadbench.records.layout import EARLIER

COMMITTED = Path("leaderboard/records")
GOAL = 10.0


def gather(source: Path, count: int, target: Path) -> int:
    """Copies ``count`` records with the files beside them below ``target``; returns how many there are.

    Raises:
        FileNotFoundError: If there is no record.
    """
    records = sorted(path for path in source.rglob("*.json") if len(path.suffixes) == 1)
    if not records:
        raise FileNotFoundError(f"no record below {source}")
    count = min(count, len(records))
    for number in range(count):
        record = records[number * len(records) // count]
        folder = target / record.relative_to(source).parent
        folder.mkdir(parents=True, exist_ok=True)
        for file in record.parent.glob(f"{record.stem}.*"):
            shutil.copyfile(file, folder / file.name)
    return count


def timed(count: int) -> tuple[float, float, int]:
    """Returns seconds by the clock and of the processor, and the number of records.

    Raises:
        AssertionError: If the report ranks no row, so that the time says nothing.
    """
    with tempfile.TemporaryDirectory() as scratch:
        records, out = Path(scratch) / "records", Path(scratch) / "out"
        found = gather(COMMITTED, count, records)
        if (kept := COMMITTED.parent / EARLIER).is_file():
            shutil.copyfile(kept, Path(scratch) / EARLIER)
        out.mkdir()
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        began = time.monotonic()
        command = [sys.executable, "-m", "uadbench", "report", "--records", str(records), "--out", str(out)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        wall = time.monotonic() - began
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        ranked = sum(bool(row["rank"]) for row in csv.DictReader((out / "leaderboard" / "leaderboard.csv").open()))
    assert ranked, "no row is ranked: the records were refused"
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, found


def main() -> int:
    """Returns 1 where the cores are idle and the goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=200)
    options = parser.parse_args()
    load = os.getloadavg()[0]
    wall, busy, found = timed(options.records)
    print(f"{machine()}, load {load:.1f}")
    print(f"report of {found} records: {wall:.1f} s, {busy:.1f} s of processor time")
    if load > 0.5 * (os.cpu_count() or 1):
        print("The cores were shared: the seconds by the clock say nothing.")
        return 0
    return 0 if wall <= GOAL else 1


if __name__ == "__main__":
    sys.exit(main())
