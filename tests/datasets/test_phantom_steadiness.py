"""Phantoms are the same, bit for bit, whatever the processor offers: see docs/datasets.md."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from tests.support.processors import FEATURES, PLAIN_LIBM, PLAIN_NUMPY, ROOT, python
from uadbench.core.catalog import DATASETS
from uadbench.core.phantom_fingerprint import committed_phantom
from uadbench.core.rounding import NUDGE, above, rounded, watched

TOOL = ROOT / "tools" / "phantom_steadiness.py"
PHANTOMS = ("brain_mri", "carotid_us", "liver_ct")
SAFE = 100
"""Times that a margin must exceed the differences between machines."""

PLAINEST = "all plain, Nehalem's BLAS, two threads"
ENVIRONMENTS = {
    **{f"without {name}": {"NPY_DISABLE_CPU_FEATURES": name} for name in FEATURES},
    "plain numpy, Prescott's BLAS": {**PLAIN_NUMPY, "OPENBLAS_CORETYPE": "Prescott"},
    "plain libm, Haswell's BLAS": {**PLAIN_LIBM, "OPENBLAS_CORETYPE": "Haswell"},
    PLAINEST: {
        **PLAIN_NUMPY,
        **PLAIN_LIBM,
        "OPENBLAS_CORETYPE": "Nehalem",
        "OPENBLAS_NUM_THREADS": "2",
        "OMP_NUM_THREADS": "2",
    },
}  # fmt: skip


@dataclass(frozen=True)
class Made:
    """What a process made: hashes and margins by dataset, values by decision."""

    hashes: dict[str, str]
    margins: dict[str, float]
    values: dict[str, np.ndarray]


def make(environment: dict[str, str], file: Path, *arguments: str, program: str = "") -> Made:
    """Makes a few patients of all phantoms in another process."""
    start = ("-c", program) if program else (str(TOOL),)
    keep = ("--values", str(file)) if file.name else ()
    rows = [json.loads(line) for line in python(*start, *arguments, *keep, environment=environment).splitlines()]
    margins = {f"{row['dataset']}: {name}": value for row in rows for name, value in row["margins"].items()}
    values = dict(np.load(file)) if file.name else {}
    return Made({row["dataset"]: row["made"] for row in rows}, margins, values)


def committed_margins() -> dict[str, float]:
    """Returns the margins of the whole phantoms."""
    known = {name: committed_phantom(name) for name in PHANTOMS}
    return {f"{name}: {key}": value for name, each in known.items() if each for key, value in each.margins.items()}


def too_close(one: Made, other: Made, margins: dict[str, float]) -> list[str]:
    """Returns the decisions whose margin is not ``SAFE`` times the difference between two processes."""
    found = []
    for name, values in one.values.items():
        differing = np.abs(values - other.values[name])[np.isfinite(values)]
        if SAFE * float(differing.max(initial=0)) >= margins[name]:
            found.append(name)
    return found


@pytest.fixture(scope="module")
def baseline(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return make({}, tmp_path_factory.mktemp("baseline") / "values.npz")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name == PLAINEST else pytest.mark.slow) for name in ENVIRONMENTS]
)
def test_a_few_patients_are_the_same_everywhere(name: str, baseline: Made, tmp_path: Path) -> None:
    other = make(ENVIRONMENTS[name], tmp_path / "values.npz")
    assert other.hashes == baseline.hashes
    # ... and not by luck: no value of the whole phantom is as near to a border as the last bits could carry it
    assert not too_close(baseline, other, committed_margins())


PLANTED = """
import sys, runpy, types
import numpy
from uadbench.datasets.liver_ct import scanner
single = types.SimpleNamespace(**vars(numpy))
single.exp = lambda values: numpy.exp(numpy.asarray(values, numpy.float32)).astype(numpy.float64)
scanner.np = single
sys.argv[0] = "phantom_steadiness"
runpy.run_path({tool!r}, run_name="__main__")
"""


@pytest.mark.skipif(not FEATURES, reason="NumPy has one set of routines for this processor")
def test_a_step_in_single_precision_is_found(tmp_path: Path) -> None:
    program = PLANTED.format(tool=str(TOOL))
    one, other = (
        make(environment, tmp_path / f"{k}.npz", "--dataset", "liver_ct", program=program)
        for k, environment in enumerate(({}, PLAIN_NUMPY))
    )
    assert "liver_ct: Hounsfield unit" in too_close(one, other, committed_margins())


# The processor as it is makes them whole in tests/datasets/test_conformance.py, which refuses another fingerprint.
@pytest.mark.slow
@pytest.mark.parametrize("dataset", PHANTOMS)
def test_a_whole_phantom_has_the_committed_fingerprint(dataset: str) -> None:
    made = make(ENVIRONMENTS[PLAINEST], Path(), "--whole", "--dataset", dataset)
    known = committed_phantom(dataset)
    assert known is not None
    assert made.hashes[dataset] == known.fingerprint
    assert known.version == DATASETS.load(dataset).version


@given(values=arrays.arrays(np.float64, 20, elements=st.floats(-1e3, 1e3)), sign=st.sampled_from([-1, 1]))
def test_errors_below_the_margin_change_nothing(values: np.ndarray, sign: int) -> None:
    with watched() as watch:
        whole, over = rounded("whole", values), above("over", values, 1.5)
    shift = sign * 0.5 * min(watch.margins.values())
    np.testing.assert_array_equal(rounded("whole", values + shift), whole)
    np.testing.assert_array_equal(above("over", values + shift, 1.5), over)
    assert (np.abs(whole - values) <= 0.5 + 2 * NUDGE).all()


def test_halves_stand_clear_of_the_border() -> None:
    with watched(keep=True) as watch:
        assert rounded("half", np.array([0.5, 127.5])).tolist() == [1, 128]
        assert not above("equal", np.array([3.0]), 3.0).any()
    assert min(watch.margins.values()) > 0.9 * NUDGE
    assert watch.counts == {"half": 2, "equal": 1}


def test_single_precision_is_refused() -> None:
    with pytest.raises(TypeError, match="float64"):
        above("x", np.zeros(2, np.float32), 0)
    with pytest.raises(TypeError, match="float64"):
        rounded("x", np.zeros(2, np.float32))
