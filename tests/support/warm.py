"""Commands in processes of their own without the wait for a cold start, for tests of many of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

SERVER = Path(__file__).with_name("warm_server.py")
BUSY = 30.0  # seconds that workers may live on after the command that started them


@dataclass(frozen=True)
class Ended:
    """How a command ended, and the end of what it said."""

    code: int
    said: str

    @property
    def line(self) -> str:
        """The last line that it said."""
        return self.said.strip().splitlines()[-1] if self.said.strip() else ""


class Warm:
    """A process that has loaded the libraries and forks for each command; one command at a time."""

    def __init__(self) -> None:
        self._folder = TemporaryDirectory()
        self._said = Path(self._folder.name) / "said"
        self._pid = 0
        self._server = subprocess.Popen(
            [sys.executable, str(SERVER)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def close(self) -> None:
        """Ends the process."""
        self._server.communicate()
        self._folder.cleanup()

    def run(
        self,
        arguments: Sequence[str],
        folder: Path,
        *,
        environment: Mapping[str, str] | None = None,
        prelude: str = "",
    ) -> Ended:
        """Runs a command to its end; see ``start``."""
        self.start(arguments, folder, environment=environment, prelude=prelude)
        return self.ended()

    def start(
        self,
        arguments: Sequence[str],
        folder: Path,
        *,
        environment: Mapping[str, str] | None = None,
        prelude: str = "",
    ) -> int:
        """Starts a command.

        Args:
            arguments: Its words after ``uadbench``.
            folder: Where it runs.
            environment: Variables to set.
            prelude: Python that its process executes before.

        Returns:
            The process, which leads a group of its own.
        """
        request = {
            "folder": str(folder),
            "said": str(self._said),
            "arguments": list(arguments),
            "prelude": prelude,
            "environment": {"OMP_WAIT_POLICY": "passive", **(environment or {})},
        }
        assert self._server.stdin is not None
        self._server.stdin.write(json.dumps(request) + "\n")
        self._server.stdin.flush()
        self._pid = self._answer()
        return self._pid

    def ended(self, *, wait_for_others: bool = True) -> Ended:
        """Waits for the end of the command, and of the processes that it has started."""
        code = self._answer()
        if wait_for_others:
            _wait_for_group(self._pid)
        return Ended(code, self._said.read_text()[-5000:])

    def _answer(self) -> int:
        assert self._server.stdout is not None
        return int(self._server.stdout.readline())


def _wait_for_group(pid: int) -> None:
    until = time.monotonic() + BUSY
    with suppress(ProcessLookupError):
        while time.monotonic() < until:
            os.killpg(pid, 0)
            time.sleep(0.05)
