"""Kills commands at random times and at every write, runs them again, and compares with a run that nobody killed.

``python -m tests.support.kills --kills 200`` from the root of the repository; ``tests/cli/test_kills.py`` is the short
form. Commands are watched from outside: an audit hook counts the stages (begun, written, renamed) of the one atomic
write of ``uadbench.core.files`` over all processes of a command, and ends the process at a chosen one.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from tests.support.kill_commands import COMMANDS, PRELUDES, Inputs, make_inputs
from tests.support.kill_contents import contents, differences
from tests.support.warm import Ended, Warm
from tests.support.warm_server import AT, COUNT, NUMBER

PROJECT = Path(__file__).resolve().parents[2]
SITE = "from tests.support.warm_server import watch\nimport sys\nsys.addaudithook(watch)\n"
SIGNALS = (signal.SIGKILL, signal.SIGTERM)
ENDS = {signal.SIGKILL: -signal.SIGKILL, signal.SIGTERM: 143}


@dataclass(frozen=True)
class Kill:
    """When and how a command is ended: at a stage of its writes (counted from 1), or after some seconds."""

    number: signal.Signals
    write: int | None = None
    seconds: float | None = None
    group: bool = False

    def __str__(self) -> str:
        when = f"write {self.write}" if self.seconds is None else f"{self.seconds:.2f} s"
        return f"{self.number.name} at {when}{', all its processes' if self.group else ''}"


@dataclass(frozen=True)
class Whole:
    """What an uninterrupted command leaves, and over how many stages of writes and seconds."""

    contents: dict[str, str]
    writes: int
    seconds: float


@dataclass
class Tally:
    """Kills of one command."""

    tried: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    passed: int = 0


class Harness:
    """Commands, their inputs, and what they leave when nobody kills them.

    Args:
        folder: Where all is written.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._inputs: Inputs = make_inputs(folder / "inputs")
        site = folder / "site"  # processes that a command starts are watched too
        site.mkdir()
        (site / "sitecustomize.py").write_text(SITE)
        self._path = os.pathsep.join([str(site), str(PROJECT)])
        self._whole: dict[str, Whole] = {}
        self._warm = Warm()

    def close(self) -> None:
        """Ends the process that starts commands."""
        self._warm.close()

    def whole(self, name: str) -> Whole:
        """Runs a command once, uninterrupted."""
        if name not in self._whole:
            place = self._fresh(f"{name}-whole")
            began = time.monotonic()
            ended = self._run(name, place)
            seconds = time.monotonic() - began
            assert ended.code == 0, f"{name} fails by itself: {ended.said}"
            self._whole[name] = Whole(contents(place), (self._folder / "count").stat().st_size, seconds)
        return self._whole[name]

    def kill(self, name: str, kill: Kill) -> tuple[str, list[str]]:
        """Kills a command once and runs it again.

        Returns:
            How the first one ended, and what is wrong afterwards.
        """
        whole = self.whole(name)
        place = self._fresh(f"{name}-killed")
        first = self._run(name, place, kill)
        while kill.seconds is not None and first.code == 0:  # too late: the machine is less busy than it was
            kill = replace(kill, seconds=kill.seconds / 2)
            place = self._fresh(f"{name}-killed")
            first = self._run(name, place, kill)
        how = (
            "killed"
            if first.code == ENDS[kill.number]
            else "survived"
            if first.code == 0
            else f"ended with {first.code}"
        )
        again = self._run(name, place)
        wrong: list[str] = []
        if first.code not in (0, ENDS[kill.number], -signal.SIGTERM) or "Traceback" in first.said:
            wrong.append(f"first {how}: {first.said}")
        # A store that was whole before it was killed is not prepared again.
        done_before = again.code == 2 and "exists and is not empty" in again.said
        if (again.code and not done_before) or "Traceback" in again.said:
            wrong.append(f"again ended with {again.code}: {again.said}")
        return how, wrong + differences(whole.contents, contents(place))

    def _fresh(self, name: str) -> Path:
        place = self._folder / name
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        return place

    def _run(self, name: str, place: Path, kill: Kill | None = None) -> Ended:
        environment = {"PYTHONPATH": self._path, COUNT: str(self._folder / "count")}
        (self._folder / "count").write_text("")
        if kill is not None and kill.write is not None:
            environment |= {AT: str(kill.write), NUMBER: str(int(kill.number))}
        pid = self._warm.start(
            COMMANDS[name](self._inputs), place, environment=environment, prelude=PRELUDES.get(name, "")
        )
        if kill is not None and kill.seconds is not None:
            time.sleep(kill.seconds)
            with suppress(ProcessLookupError):
                (os.killpg if kill.group else os.kill)(pid, kill.number)
        return self._warm.ended(wait_for_others=kill is None)


def kills(harness: Harness, name: str, count: int, rng: random.Random) -> Iterator[Kill]:
    """Yields kills: two thirds at stages of a command's writes, spread over all of them, the others at any time."""
    whole = harness.whole(name)
    at_writes = min(whole.writes, count - count // 3)
    offset = rng.random()
    for number in range(at_writes):
        yield Kill(SIGNALS[number % 2], write=1 + int((number + offset) * whole.writes / at_writes))
    for number in range(count - at_writes):
        seconds = rng.uniform(0.02, 0.9) * whole.seconds
        yield Kill(SIGNALS[number % 2], seconds=seconds, group=bool(rng.getrandbits(1)))


def trial(folder: Path, count: int, seed: int, names: Sequence[str] = ()) -> dict[str, Tally]:
    """Kills every command equally often; prints a line for each kill."""
    rng = random.Random(seed)  # noqa: S311 (no secret)
    harness = Harness(folder)
    chosen = list(names or COMMANDS)
    tallies = {name: Tally() for name in chosen}
    for place, (name, tally) in enumerate(tallies.items()):
        share = count // len(chosen) + (place < count % len(chosen))
        for kill in kills(harness, name, share, rng):
            how, wrong = harness.kill(name, kill)
            tally.tried[how] += 1
            tally.passed += not wrong
            tally.problems += [f"{name}, {kill}: {line}" for line in wrong]
            print(f"{name}: {kill}: {how}{''.join(f'; {line}' for line in wrong)}", flush=True)  # noqa: T201
    harness.close()
    return tallies


def main() -> int:
    """Runs the harness and prints what was tried and what passed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="*", default=[], choices=list(COMMANDS))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        tallies = trial(Path(folder), options.kills, options.seed, options.only)
    for name, tally in tallies.items():
        print(f"{name}: {tally.tried.total()} tried ({dict(tally.tried)}), {tally.passed} passed")  # noqa: T201
    return int(any(tally.problems for tally in tallies.values()))


if __name__ == "__main__":
    sys.exit(main())
