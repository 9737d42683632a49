"""Starts commands in processes of their own, from a process that has loaded the libraries: most of a cold start.

Reads a request per line (JSON) and answers with two lines: the process, and how it ended.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import traceback
from importlib import import_module
from pathlib import Path
from typing import Any

HEAVY = (
    "sklearn.ensemble",
    "uadbench.datasets.folder",
    "uadbench.inference.new_images",
    "uadbench.methods.autoencoder",
    "uadbench.report.build",
    "uadbench.report.site.site",
    "uadbench.runner.storage.open_run",
    "uadbench.runner.suites.suite_run",
    "uadbench.tuning.tune",
    "uadbench.verification.bundle",
    "uadbench.verification.check_bundle",
)
COUNT, AT, NUMBER = "KILLS_COUNT", "KILLS_AT", "KILLS_SIGNAL"


def watch(event: str, arguments: tuple[Any, ...]) -> None:
    """Counts the stages of the one atomic write over all processes of a command, and ends the process at one."""
    del arguments
    if event != "uadbench.write" or COUNT not in os.environ:
        return
    line = os.open(os.environ[COUNT], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(line, b".")
    number = os.lseek(line, 0, os.SEEK_CUR)
    os.close(line)
    if str(number) == os.environ.get(AT):
        os.kill(os.getpid(), int(os.environ[NUMBER]))


def child(request: dict[str, Any]) -> None:
    """Runs a command in this process and ends it."""
    os.setsid()
    os.chdir(request["folder"])
    os.environ.update(request["environment"])
    tempfile.tempdir = None
    for number, name in ((0, os.devnull), (1, os.devnull), (2, request["said"])):
        opened = os.open(name, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        os.dup2(opened, number)
        os.close(opened)
    sys.addaudithook(watch)
    sys.argv = ["uadbench", *request["arguments"]]
    kept: dict[str, Any] = {}  # what it makes lives as long as the command
    exec(request["prelude"], kept)  # noqa: S102 (of the tests themselves)
    from uadbench.cli import main

    code = 0
    try:
        main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stderr.flush()
    sys.stdout.flush()
    os._exit(code)


def serve() -> None:
    """Forks a process for each request."""
    for module in HEAVY:
        import_module(module)
    for line in sys.stdin:
        request = json.loads(line)
        pid = os.fork()
        if pid == 0:
            child(request)
        print(pid, flush=True)  # noqa: T201 (answers the harness)
        ended = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        print(ended, flush=True)  # noqa: T201


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
    serve()
