"""Prepared data are the same, bit for bit, whatever the processor offers: the same files give the same fingerprint."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.support import (
    brain_data,
    breast_data,
    chaos_data,
    folder_data,
    liver_data,
    momot_data,
    sweep_data,
)
from tests.support.processors import PLAIN, python

PREPARE = """
import json, sys
from pathlib import Path
from uadbench.core.catalog import DATASETS
from uadbench.core.dataset import no_progress
from uadbench.data.storage.store import Store

root, out = Path(sys.argv[1]), Path(sys.argv[2])
made = {}
for line in (root / "list.txt").read_text().splitlines():
    raw, dataset, recipe = line.split()
    place = out / f"{raw}-{recipe}"
    DATASETS.load(dataset)().prepare(root / raw, place, recipe, 1, no_progress)
    made[place.name] = Store(place).manifest.fingerprint
print(json.dumps(made))
"""


def volumes(root: Path) -> Path:
    """Anisotropic NIfTI volumes that a folder of one's own may hold, with an odd intensity scale."""
    for kind, seeds in (("normal", range(5)), ("abnormal", range(10, 14))):
        for seed in seeds:
            image, mask = brain_data.head(seed)
            brain_data.save(root / kind / f"{kind}{seed}.nii.gz", image * np.float32(3.7))
            if kind == "abnormal":
                brain_data.save(root / "masks" / f"{kind}{seed}.nii.gz", (mask > 0).astype(np.uint8))
    return root


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tiny raw data of every layout family, and which dataset reads them by which recipe."""
    root = tmp_path_factory.mktemp("raw")
    brain_data.brats21(root / "brats", depth=155)  # the paper recipe takes slices 80 to 99
    brain_data.ixi(root / "ixi")
    liver_data.lits(root / "lits")
    liver_data.bmad(root / "bmad")
    chaos_data.chaos(root / "chaos")
    liver_data.lits(root / "chaos")
    sweep_data.name_patients(sweep_data.sweeps(root / "sweeps"))
    momot_data.momot(root / "momot")
    breast_data.write_uclm(root / "uclm")
    folder_data.two_folders(root / "pictures")
    folder_data.listed(root / "table")
    volumes(root / "volumes")
    rows = ["brats brain_mri strict", "brats brain_mri paper", "ixi brain_mri strict", "lits liver_ct strict"]
    rows += ["lits liver_ct paper", "bmad liver_ct strict", "chaos liver_ct strict", "sweeps carotid_us strict"]
    rows += ["sweeps carotid_us paper", "momot carotid_us strict", "uclm breast_us strict", "pictures folder strict"]
    rows += ["table folder strict", "volumes folder strict"]
    (root / "list.txt").write_text("\n".join(rows))
    return root


def prepared(raw: Path, out: Path, environment: dict[str, str]) -> dict[str, str]:
    return json.loads(python("-c", PREPARE, str(raw), str(out), environment=environment))


@pytest.mark.slow
def test_the_same_files_give_the_same_fingerprint(raw: Path, tmp_path: Path) -> None:
    here = prepared(raw, tmp_path / "here", {})
    plain = prepared(raw, tmp_path / "plain", {**PLAIN, "OMP_NUM_THREADS": "2"})
    assert len(here) == 14
    assert {name for name in here if here[name] != plain[name]} == set()
