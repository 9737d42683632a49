"""How the command line ends: one line and an exit code on interruption, bad input, or lack of space or memory."""

from __future__ import annotations

import errno
import mmap
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from uadbench.core.errors import JobFailed, UserError, harmless
from uadbench.core.files import FULL

INTERRUPTED, TERMINATED = 130, 143
_NO_MEMORY = ("failed to map segment", "cannot allocate memory", "not enough memory", "out of memory")
_NOT_ENOUGH = "Not enough memory: {}. Free some, or use fewer --workers."
_ROOM = 64 << 20  # bytes that a process with enough memory can still get
_NO_SPACE = ("database or disk is full", "no space left on device")
_REFUSED = (*FULL, errno.EROFS, errno.EACCES, errno.EPERM)


class Terminated(BaseException):
    """SIGTERM. It unwinds like Ctrl-C, past the command-line library, which would replace the exit code."""


class _Stop:
    """Handles SIGTERM, and remembers it: an interrupted import often raises another error."""

    def __init__(self) -> None:
        self.terminated = False
        self._process = os.getpid()

    def __call__(self, number: int, _frame: FrameType | None) -> None:
        if os.getpid() != self._process:  # a forked worker ends with the default handling
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        self.terminated = True
        raise Terminated


def guarded(app: Callable[[], object]) -> int:
    """Runs the command line and returns its exit code: 0, 1, 2, 130 or 143.

    Any other exception is a defect of uadbench and keeps its traceback.
    """
    stop = _Stop()
    signal.signal(signal.SIGTERM, stop)
    try:
        app()
    except BaseException as error:
        code, text = _ending(error, terminated=stop.terminated)
        if code is None:
            raise
        if text:
            print(f"uadbench: {harmless(text)}", file=sys.stderr)  # noqa: T201 (the one place that talks to a person on error)
        return code
    return 0


def _ending(error: BaseException, *, terminated: bool) -> tuple[int | None, str]:
    """Returns the exit code and message of an error, None if it is a defect."""
    code = error.code if isinstance(error, SystemExit) else None
    if terminated or isinstance(error, Terminated):
        return TERMINATED, "terminated; repeat the command to resume."
    if code in (INTERRUPTED, None) and _was_interrupted(error):
        if not _has_memory():  # OpenBLAS interrupts its own process where it cannot start its threads
            return UserError.exit_code, _NOT_ENOUGH.format("the command could not be finished")
        return INTERRUPTED, "interrupted; repeat the command to resume."
    if isinstance(error, SystemExit):
        return (code if isinstance(code, int) else 0 if code is None else 1), ""
    if isinstance(error, UserError | JobFailed):
        return error.exit_code, str(error)
    text = _shortage(error)
    return (None, "") if text is None else (UserError.exit_code, text)


def _was_interrupted(error: BaseException) -> bool:
    """Whether Ctrl-C caused an error, for example while a module was being imported.

    A command that has already reported what is kept raises its exit ``from None``.
    """
    before: BaseException | None = error
    while before is not None:
        if isinstance(before, KeyboardInterrupt):
            return True
        before = before.__cause__ or (None if before.__suppress_context__ else before.__context__)
    return False


def _package(error: ImportError) -> str | None:
    """Returns the package that could not be loaded: the module itself has a name that says nothing (``_C``)."""
    parts = Path(error.path or "").parts
    return parts[parts.index("site-packages") + 1] if "site-packages" in parts[:-1] else error.name


def _has_memory() -> bool:
    try:
        mmap.mmap(-1, _ROOM).close()
    except (OSError, MemoryError):
        return False
    return True


def _shortage(error: BaseException) -> str | None:
    """Returns the message if the machine lacks memory or space, None for any other error."""
    text = str(error)
    if isinstance(error, MemoryError) or any(words in text.lower() for words in _NO_MEMORY):
        loading = _package(error) if isinstance(error, ImportError) else None
        what = f"{loading} could not be loaded" if loading else "the command could not be finished"
        return _NOT_ENOUGH.format(what)
    if isinstance(error, OSError) and error.errno in _REFUSED:
        where = f" {error.filename}" if error.filename else ""
        remedy = "Free some space" if error.errno in FULL else "Check the permissions"
        return f"Cannot write or read{where}: {error.strerror}. {remedy} or choose another --out."
    if any(words in text.lower() for words in _NO_SPACE):
        return "The disk is full: no space left on device. Free some space or choose another --out."
    return None
