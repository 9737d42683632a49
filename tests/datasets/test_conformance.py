"""Every registered dataset passes the public conformance kit, one test per check and dataset."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from tests.support import breast_data
from tests.support.folder_data import prepare, two_folders
from tests.support.shipped import DATASET_NAMES
from uadbench.core.catalog import DATASETS
from uadbench.core.dataset import no_progress
from uadbench.runner.planning.datasets import open_source
from uadbench.testing.dataset_checks import CHECKS, DatasetSubject
from uadbench.testing.results import run_check

# Datasets without a phantom: the writer of a small source and its converter.
PREPARED: Mapping[str, Callable[[Path], Path]] = {
    "folder": lambda root: prepare(two_folders(root / "raw"), root / "out").path,
    "breast_us": lambda root: breast_data.prepare(breast_data.write_uclm(root / "raw"), root / "out")[0].path,
}
SUBJECTS = pytest.StashKey[dict[str, DatasetSubject]]()


def subject(name: str, config: pytest.Config, factory: pytest.TempPathFactory) -> DatasetSubject:
    """A store, made once in a session: the phantom (also kept in its cache), or prepared from a small source."""
    subjects = config.stash.setdefault(SUBJECTS, {})
    if name not in subjects:
        if name in PREPARED:
            subjects[name] = DatasetSubject(PREPARED[name](factory.mktemp(name)), {})
        else:
            subjects[name] = DatasetSubject(
                open_source(name, "phantom", no_progress).path, DATASETS.load(name).card.patients
            )
    return subjects[name]


@pytest.mark.parametrize(
    ("name", "check"),
    [
        pytest.param(name, check, id=f"{name}-{check}", marks=() if name in PREPARED else pytest.mark.slow)
        for name in DATASET_NAMES
        for check in CHECKS
    ],
)
def test_dataset(
    name: str, check: str, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> None:
    result = run_check(check, CHECKS[check], subject(name, request.config, tmp_path_factory))
    assert result.passed, result.detail
