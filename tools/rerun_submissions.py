"""Runs the methods of new bundles again, in isolation and on a fresh phantom: `rerun_submissions.py NEW BASE --seed N`.

Bundles of phantoms that hold maps and weights; the others keep the level that `uadbench verify NEW` finds.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from zipfile import ZipFile

from uadbench.core.record import MAX_SEED, Record
from uadbench.records.layout import sha256_of
from uadbench.verification.bundle import WEIGHTS, opened_bundle


def new_bundles(submitted: Path, base: Path) -> Iterator[Path]:
    """Yields the bundles that `base` does not hold and whose method can be run again on a phantom."""
    for bundle in sorted(submitted.glob("submissions/*.zip")):
        before = base / "submissions" / bundle.name
        if before.is_file() and sha256_of(before) == sha256_of(bundle):
            continue
        with ZipFile(bundle) as archive:
            names = archive.namelist()
        if WEIGHTS not in names or "maps/test/maps.npy" not in names:
            print(f"{bundle.name}: no maps or no weights, not run again")  # noqa: T201
            continue
        with opened_bundle(bundle) as folder:
            record = Record.model_validate_json((folder / "record.json").read_bytes())
        if record.dataset.source != "phantom" or record.test_on is not None:
            print(f"{bundle.name}: not on one phantom, not run again")  # noqa: T201
            continue
        yield bundle


def main() -> int:
    """Runs each again; the exit status is that of the worst."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("submitted", type=Path)
    parser.add_argument("base", type=Path)
    parser.add_argument("--seed", type=int, required=True, help="a number that nobody knew before")
    options = parser.parse_args()
    seed = 1 + options.seed % (MAX_SEED - 1)
    command = [sys.executable, "-m", "uadbench", "verify", "--rerun", "--isolated", "--fresh-phantom", str(seed)]
    bundles = new_bundles(options.submitted, options.base)
    return max((_run([*command, str(bundle)]) for bundle in bundles), default=0)


def _run(command: list[str]) -> int:
    return subprocess.run(command, check=False).returncode  # noqa: S603 (built here)


if __name__ == "__main__":
    sys.exit(main())
