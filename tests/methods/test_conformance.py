"""Every registered method passes the public conformance kit, one test per check and method."""

from __future__ import annotations

from functools import cache

import pytest

from tests.support.shipped import METHOD_NAMES
from uadbench.core.catalog import METHODS
from uadbench.testing.method_checks import CHECKS
from uadbench.testing.method_subject import MethodSubject
from uadbench.testing.results import run_check

QUICK = {"autoencoder", "intensity", "equalized", "position", "mean_residual", "random"}


@cache
def subject(name: str) -> MethodSubject:
    """A method with its fitted example, which all of its checks share."""
    return MethodSubject(METHODS.load(name), seed=0)


@pytest.mark.parametrize(
    ("name", "check"),
    [
        pytest.param(name, check, id=f"{name}-{check}", marks=() if name in QUICK else pytest.mark.slow)
        for name in METHOD_NAMES
        for check in CHECKS
    ],
)
def test_method(name: str, check: str) -> None:
    result = run_check(check, CHECKS[check], subject(name))
    assert result.passed, result.detail
