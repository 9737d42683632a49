"""Killed at random times and at every write, a command that is run again ends like one that nobody killed."""

from __future__ import annotations

import random
import signal
from collections.abc import Generator
from pathlib import Path

import pytest

from tests.support.kill_commands import COMMANDS
from tests.support.kill_contents import differences
from tests.support.kills import Harness, Kill, kills

pytestmark = pytest.mark.slow

EACH = {"run": 4, "tune": 2, "bench": 2, "prepare": 5, "predict": 4, "report": 4}
"""Kills of each command: 21, in under two minutes on two idle cores; the long form is ``tests.support.kills``."""


@pytest.fixture(scope="module")
def harness(tmp_path_factory: pytest.TempPathFactory) -> Generator[Harness]:
    harness = Harness(tmp_path_factory.mktemp("kills"))
    yield harness
    harness.close()


@pytest.mark.parametrize("name", COMMANDS)
def test_nothing_is_lost_and_nothing_left(harness: Harness, name: str) -> None:
    for kill in kills(harness, name, EACH[name], random.Random(name)):  # noqa: S311 (no secret)
        _, wrong = harness.kill(name, kill)
        assert wrong == [], str(kill)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_resumed_study_draws_the_same_figures(harness: Harness, number: signal.Signals) -> None:
    drawn = {name for name in harness.whole("tune").contents if name.endswith(".svg")}
    assert {"history.svg", "importance.svg", "slices.svg"} <= {Path(name).name for name in drawn}
    assert any("contour-" in name for name in drawn)
    assert harness.kill("tune", Kill(number, write=1)) == ("killed", [])


def test_the_comparison_finds_what_is_lost_left_or_changed() -> None:
    whole, found = {"a": "1", "b": "2"}, {"b": "3", ".tmp-1": "4"}
    assert differences(whole, found) == ["a is lost", ".tmp-1 is left over", "b differs"]
