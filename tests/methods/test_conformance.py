"""Every registered method passes the public conformance kit; the kit catches methods that break a rule."""

from __future__ import annotations

import pytest

from tests.support.shipped import METHOD_NAMES
from uadbench.core.catalog import METHODS
from uadbench.testing.method_checks import check_method

QUICK = {"autoencoder", "intensity", "equalized", "position", "mean_residual", "random"}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in METHOD_NAMES]
)
def test_method_passes_the_kit(name: str) -> None:
    failures = [f"{r.name}: {r.detail}" for r in check_method(METHODS.load(name)) if not r.passed]
    assert not failures, "\n".join(failures)
