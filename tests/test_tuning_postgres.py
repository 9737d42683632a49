"""A study in PostgreSQL: two workers, one killed, the server away and back. Needs Debian's postgresql and a driver."""

from __future__ import annotations

import multiprocessing
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from optuna.trial import TrialState

from tests.test_tuning_book import book, slots, work
from uadbench.core.errors import UserError

BIN = next(iter(sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)), None)
pytest.importorskip("psycopg2")
MISSING = BIN is None and os.environ.get("CI") != "true"  # CI installs it: there, its absence is a failure
pytestmark = [pytest.mark.slow, pytest.mark.skipif(MISSING, reason="postgresql is not installed")]

PASSWORD = "hunter2"  # noqa: S105 (of a server that lives for one test)


class Server:
    """A PostgreSQL of its own; it refuses to run as root, so root lends it the user ``postgres``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        if os.geteuid() == 0:
            user = pwd.getpwnam("postgres")
            os.chown(folder, user.pw_uid, user.pw_gid)
        secret = folder / "password"
        secret.write_text(PASSWORD)
        secret.chmod(0o644)
        self._command("initdb", "-A", "scram-sha-256", "-U", "me", "--pwfile", str(secret), "-D", str(folder / "data"))
        self.start()

    @property
    def address(self) -> str:
        return f"postgresql+psycopg2://me:{PASSWORD}@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -k {self.folder} -c fsync=off"
        self._command(
            "pg_ctl", "-w", "-D", str(self.folder / "data"), "-l", f"{self.folder}/log", "-o", options, "start"
        )

    def stop(self) -> None:
        self._command("pg_ctl", "-w", "-m", "immediate", "-D", str(self.folder / "data"), "stop")

    def _command(self, name: str, *arguments: str) -> None:
        lent = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
        subprocess.run(
            [*lent, f"{BIN}/{name}", *arguments], check=True, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL
        )


@pytest.fixture
def server() -> Iterator[Server]:
    folder = Path(tempfile.mkdtemp())  # not below pytest's own folder, which other users may not enter
    made = Server(folder)
    yield made
    made.stop()
    shutil.rmtree(folder)


def _work(folder: Path, address: str) -> None:
    work(book(folder, 8, storage=address), naps=0.3)


def test_two_workers_one_killed_nothing_lost_nothing_doubled(server: Server, tmp_path: Path) -> None:
    mine = book(tmp_path, 8, storage=server.address)
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_work, args=(tmp_path, server.address)) for _ in "ab"]
    for worker in workers:
        worker.start()
    deadline = time.monotonic() + 120
    while not (slots(mine, TrialState.COMPLETE) and len(slots(mine, TrialState.RUNNING)) == 2):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert workers[0].pid is not None
    os.kill(workers[0].pid, signal.SIGKILL)
    for worker in workers:
        worker.join(120)
    assert workers[1].exitcode == 0
    assert slots(mine, TrialState.COMPLETE) == Counter(range(8))
    assert slots(mine, TrialState.RUNNING, TrialState.WAITING) == Counter()


def test_a_server_that_is_down_is_bad_input_and_the_study_goes_on(server: Server, tmp_path: Path) -> None:
    mine = book(tmp_path, 4, storage=server.address)
    work(mine, limit=2)
    server.stop()
    for attempt in (lambda: work(mine), lambda: book(tmp_path, 4, storage=server.address)):
        with pytest.raises(UserError, match="failed") as error:
            attempt()
        assert PASSWORD not in str(error.value)
    server.start()
    assert work(book(tmp_path, 4, storage=server.address)) == 2
    assert slots(book(tmp_path, 4, storage=server.address), TrialState.COMPLETE) == Counter(range(4))
