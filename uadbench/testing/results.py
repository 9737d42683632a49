"""Results of checks, and running them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

Subject = TypeVar("Subject")


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The outcome of one check.

    Attributes:
        name: What was checked, in words.
        passed: Whether it holds.
        detail: Findings, or the reason for a failure.
    """

    name: str
    passed: bool
    detail: str = ""


class CheckFailed(Exception):
    """Raised by a failed check, with the reason."""


def require(condition: bool, reason: str) -> None:
    """Fails the running check unless the condition holds.

    Raises:
        CheckFailed: With the reason.
    """
    if not condition:
        raise CheckFailed(reason)


def run_check(name: str, check: Callable[[Subject], str], subject: Subject) -> CheckResult:
    """Runs one check; any exception is a failure with its reason.

    Args:
        name: What is checked, in words.
        check: Its function, which returns a detail or raises.
        subject: What is checked.
    """
    try:
        return CheckResult(name, True, check(subject))
    except CheckFailed as failure:
        return CheckResult(name, False, str(failure))
    except Exception as error:  # a check reports anything that third-party code raises
        return CheckResult(name, False, f"{type(error).__name__}: {error}")


def run_checks(checks: Mapping[str, Callable[[Subject], str]], subject: Subject) -> list[CheckResult]:
    """Runs all checks, even if earlier ones failed.

    Args:
        checks: Name of each check and its function, which returns a detail or raises.
        subject: What is checked.
    """
    return [run_check(name, check, subject) for name, check in checks.items()]
