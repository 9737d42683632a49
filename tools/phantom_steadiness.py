"""Simulates phantoms, completely or in part, and prints the smallest distance of values to a decision boundary.

Usage: python tools/phantom_steadiness.py [--dataset NAME]... [--whole] [--values FILE] [--write]

Prints one JSON object per dataset: a hash of the result, and the smallest margin of each decision. Run it with
other processor features (NPY_DISABLE_CPU_FEATURES, OPENBLAS_CORETYPE, GLIBC_TUNABLES) and the hash must not change.
``--write`` simulates whole phantoms and writes fingerprint and margins to datasets/NAME/fingerprint.json: only for a
version that is new.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from uadbench.core.catalog import DATASETS
from uadbench.core.dataset import no_progress
from uadbench.core.phantom_fingerprint import CommittedPhantom, committed_phantom, fingerprint_file
from uadbench.core.rounding import Watch, watched
from uadbench.data.storage.store import Store

PHANTOMS = ("brain_mri", "carotid_us", "liver_ct")
FEW = {
    "brain_mri": ("train-000", "test_lesion-000", "test_lesion-030"),
    "carotid_us": ("train-000", "val-000", "test_lesion-000", "test_lesion-001", "test_lesion-003", "test_lesion-006"),
    "liver_ct": ("train-000", "test-lesion-000", "test-lesion-010"),
}
"""Patients of the quick check: healthy, and with each kind of lesion."""


def main() -> None:
    """Reads the arguments, simulates the phantoms and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", action="append", choices=PHANTOMS, help="datasets (default: all)")
    parser.add_argument("--whole", action="store_true", help="all patients instead of a few")
    parser.add_argument("--values", type=Path, help="store all decided values of a few patients in this .npz")
    parser.add_argument("--write", action="store_true", help="write fingerprint and margins of the whole phantoms")
    asked = parser.parse_args()
    kept: dict[str, Any] = {}
    for name in asked.dataset or PHANTOMS:
        with watched(keep=asked.values is not None) as watch:
            made = whole(name) if asked.whole or asked.write else few(name)
        if asked.write:
            version, known = DATASETS.load(name).version, committed_phantom(name)
            earlier = {**known.earlier, known.version: known.fingerprint} if known else {}
            earlier.pop(version, None)
            content = CommittedPhantom(version=version, fingerprint=made, margins=watch.margins, earlier=earlier)
            fingerprint_file(name).write_text(content.model_dump_json(indent=1) + "\n")
        kept |= dict(values(name, watch))
        sys.stdout.write(json.dumps({"dataset": name, "made": made, "margins": watch.margins}) + "\n")
    if asked.values:
        np.savez(asked.values, **kept)


def whole(name: str) -> str:
    """Returns the fingerprint of the newly simulated whole phantom."""
    with tempfile.TemporaryDirectory() as folder:
        DATASETS.load(name)().make_phantom(Path(folder) / name, no_progress)
        return Store(Path(folder) / name).manifest.fingerprint


def few(name: str) -> str:
    """Returns a hash of all arrays of a few simulated patients."""
    phantom = importlib.import_module(f"uadbench.datasets.{name}.phantom")
    everyone = {patient.uid: patient for patient in phantom.patients()}
    digest = hashlib.sha256()
    for uid in FEW[name]:
        frame = (0,) if name == "carotid_us" else ()
        for array in vars(phantom.simulate(everyone[uid], *frame)).values():
            digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def values(name: str, watch: Watch) -> Iterator[tuple[str, Any]]:
    """Yields the values of each decision, if stored."""
    for decision, arrays in watch.values.items():
        yield f"{name}: {decision}", np.concatenate(arrays)


if __name__ == "__main__":
    main()
