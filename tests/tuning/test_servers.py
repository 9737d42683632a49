"""A study in PostgreSQL or MariaDB: two workers, one killed, the server away and back. Needs Debian's packages."""

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
from typing import Protocol

import pytest
from optuna.trial import TrialState

from tests.support.studies import book, slots, work
from uadbench.core.errors import UserError

POSTGRES = next(iter(sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)), None)
MARIADB = shutil.which("mariadbd", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
CI = os.environ.get("CI") == "true"  # it installs both: there, their absence is a failure
pytestmark = pytest.mark.slow

PASSWORD = "hunter2"  # noqa: S105 (of a server that lives for one test)


class Server(Protocol):
    """A database server of a test's own."""

    @property
    def address(self) -> str:
        """URL of an empty database."""
        ...

    def start(self) -> None:
        """Starts it, and waits until it answers."""
        ...

    def stop(self) -> None:
        """Stops it at once."""
        ...


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def as_user(name: str, folder: Path) -> list[str]:
    """Servers refuse to run as root: root lends them a user, who gets the folder."""
    if os.geteuid() != 0:
        return []
    user = pwd.getpwnam(name)
    os.chown(folder, user.pw_uid, user.pw_gid)
    return ["runuser", "-u", name, "--"]


class Postgres:
    """PostgreSQL."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.lent = as_user("postgres", folder)
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
        command = [*self.lent, f"{POSTGRES}/{name}", *arguments]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL)


class MariaDB:
    """MariaDB, which speaks MySQL's protocol."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.lent = as_user("mysql", folder)
        setup = folder / "setup.sql"
        setup.write_text(
            "CREATE DATABASE IF NOT EXISTS study;\n"
            f"CREATE USER IF NOT EXISTS me@'%' IDENTIFIED BY '{PASSWORD}';\nGRANT ALL ON study.* TO me@'%';\n"
        )
        setup.chmod(0o644)
        install = ["mariadb-install-db", "--no-defaults", f"--datadir={folder}/data", "--skip-test-db"]
        subprocess.run(
            [*self.lent, *install, "--auth-root-authentication-method=normal"],
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.start()

    @property
    def address(self) -> str:
        return f"mysql+pymysql://me:{PASSWORD}@127.0.0.1:{self.port}/study"

    def start(self) -> None:
        options = [f"--datadir={self.folder}/data", f"--socket={self.folder}/socket", f"--pid-file={self.folder}/pid"]
        options += [f"--port={self.port}", "--bind-address=127.0.0.1", f"--init-file={self.folder}/setup.sql"]
        with (self.folder / "log").open("a") as log:
            command = [*self.lent, str(MARIADB), "--no-defaults", *options, "--innodb-flush-log-at-trx-commit=2"]
            self.process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        while not self._answers():
            assert self.process.poll() is None, (self.folder / "log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.1)

    def stop(self) -> None:
        os.kill(int((self.folder / "pid").read_text()), signal.SIGKILL)
        self.process.wait(60)

    def _answers(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        except OSError:
            return False
        return True


KINDS = {
    "postgresql": (Postgres, POSTGRES, "psycopg2"),
    "mariadb": (MariaDB, MARIADB, "pymysql"),
}


@pytest.fixture(params=sorted(KINDS))
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    kind, program, driver = KINDS[request.param]
    if not CI:
        pytest.importorskip(driver)
    if program is None and not CI:
        pytest.skip(f"{request.param} is not installed")
    folder = Path(tempfile.mkdtemp())  # not below pytest's own folder, which other users may not enter
    made = kind(folder)
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
