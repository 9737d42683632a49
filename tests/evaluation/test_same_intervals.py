"""Intervals are the same on every processor, although its BLAS adds in its own order."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.processors import PLAIN, python
from uadbench.evaluation.statistics.intervals import on_grid

# Patients with equal values make many resamples equal to the estimate: whether rounding puts them below it moved the
# ends of BCa intervals by up to 6 % of their width.
ENDS = """
import json
import numpy as np
import pandas as pd
from uadbench.evaluation.statistics.comparisons import rank_intervals
from uadbench.evaluation.statistics.intervals import patient_interval, weighted_mean
found = []
for seed in range(6):
    draw = np.random.default_rng(seed)
    values = draw.choice([0.0, 0.1, 1 / 3, 0.7], size=20, p=[0.6, 0.2, 0.1, 0.1])
    interval = patient_interval(weighted_mean(values), 20, resamples=500, confidence=0.95, seed=0, minimum=10)
    table = pd.DataFrame({"a": values, "b": draw.permutation(values), "c": values[::-1]})
    ranks = rank_intervals(table, resamples=500)
    ends = [getattr(ranks[name], end) for name in "abc" for end in ("low", "high")]
    found.append([interval.low, interval.high, *ends])
print(json.dumps(found))
"""


def test_intervals_and_ranks_do_not_depend_on_the_kernels_of_the_blas() -> None:
    said = [
        json.loads(python("-c", ENDS, environment=place)) for place in ({}, {"OPENBLAS_CORETYPE": "Prescott"}, PLAIN)
    ]
    assert said[0] == said[1] == said[2]
    assert all(low < high for low, high, *_ in said[0])


@given(
    st.lists(st.floats(-1e6, 1e6, allow_subnormal=False), min_size=1, max_size=200),
    st.integers(0, 2**32 - 1),
)
def test_sums_on_the_grid_do_not_depend_on_the_order(values: list[float], seed: int) -> None:
    parts = on_grid(np.array(values))
    counts = np.random.default_rng(seed).multinomial(len(values), np.full(len(values), 1 / len(values))).astype(float)
    order = np.random.default_rng(seed).permutation(len(values))
    one_by_one = 0.0
    for count, part in zip(counts[order], parts[order], strict=True):
        one_by_one += count * part
    assert float(counts @ parts) == one_by_one
    assert np.allclose(parts, values, rtol=0, atol=1e-12 * max(np.abs(values)))


@pytest.mark.parametrize("values", [[0.0, 0.0], [np.nan, 1.0], [np.inf, 1.0]])
def test_nothing_to_round_is_left_alone(values: list[float]) -> None:
    assert np.array_equal(on_grid(np.array(values)), np.array(values), equal_nan=True)
