"""Atomic writes to disks that may be full, read-only or forbidden: complete files or none, without leftovers."""

from __future__ import annotations

import errno
import os
import re
import shutil
import socket
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from functools import lru_cache
from hashlib import blake2s
from pathlib import Path
from uuid import uuid4

from uadbench.core.errors import DataError

FULL = (errno.ENOSPC, errno.EDQUOT)
EVENT = "uadbench.write"
_PART = re.compile(r"\.tmp-([0-9a-f]{8})-(\d+)-[0-9a-f]{8}-.")
# Native writers (torch, safetensors) raise RuntimeErrors without an errno.
_SAY_FULL = ("no space left on device", "inline_container", "iostream error")
_HOME = re.compile(r"~$|([\w-]+=)?~(?=/)")  # `NAME=~` alone is YAML's null, not a path
_DAY = 24 * 3600
_LONGEST = 120  # characters of the final name kept in a temporary name: names may have 255 bytes
_STARTED = time.time()
_HOST = blake2s(socket.gethostname().encode(), digest_size=4).hexdigest()


class CannotWrite(DataError):
    """The system refuses to write: no fault of what was read."""


def atomic_write(final: Path, write: Callable[[Path], object]) -> Path:
    """Writes a file or a new folder under a temporary name and renames it, so readers never see a partial one.

    After an error nothing is left. Leftovers of a killed process are removed when its folder is next written to.
    Raises the audit event ``uadbench.write`` with the stage (begun, written, renamed) and the path, at which tests
    kill the process (``sys.addaudithook``).

    Args:
        final: Path to write; its folder is created.
        write: Given a path with the same suffix, writes the content there.

    Returns:
        The path ``final``.

    Raises:
        DataError: If the system refuses to write.
    """
    part = part_of(final)
    try:
        with writing(final.parent):
            final.parent.mkdir(parents=True, exist_ok=True)
            _sweep_once(final.parent.absolute())
            sys.audit(EVENT, "begun", str(final))
            write(part)
            sys.audit(EVENT, "written", str(final))
            part.replace(final)
            sys.audit(EVENT, "renamed", str(final))
    except BaseException:
        _remove(part)
        raise
    return final


def expanded(text: str) -> str:
    """Returns an argument with ``~`` replaced by the home folder, at its start or after ``NAME=``.

    A shell does so only outside quotes and not after ``=``; YAML files are read by no shell.
    """
    found = _HOME.match(text)
    return text if found is None else f"{found[1] or ''}{Path.home()}{text[found.end() :]}"


def part_of(final: Path) -> Path:
    """Returns a new temporary name next to a path; leftovers of a killed process are removed later."""
    # The suffix stays last, because some writers choose a format by it.
    return final.with_name(f".tmp-{_HOST}-{os.getpid()}-{uuid4().hex[:8]}-{final.name[-_LONGEST:]}")


def atomic_text(final: Path, text: str) -> Path:
    """Writes a text file atomically, as UTF-8 with the same line ends on every system."""
    return atomic_write(final, lambda part: part.write_text(text, encoding="utf-8", newline="\n"))


def sweep_leftovers(folder: Path) -> None:
    """Removes leftovers of killed processes in and below a folder that this process has locked."""
    _sweep(folder, locked=True)
    for inner in [path for path in folder.rglob("*") if path.is_dir() and not path.is_symlink()]:
        _sweep(inner, locked=True)


@contextmanager
def writing(folder: Path, other: str = "choose another --out") -> Generator[None]:
    """Converts system errors while writing to errors that name the folder and the remedy.

    Args:
        folder: Where it is written to.
        other: How another folder is chosen.

    Raises:
        DataError: If the disk is full, read-only, forbidden, or cannot hold a file of that size.
    """
    try:
        yield
    except OSError as error:
        # A writer that stops at a short write (numpy) gives no errno.
        full = error.errno is None and _is_full(folder)
        reason = os.strerror(errno.ENOSPC) if full else error.strerror or str(error) or type(error).__name__
        raise _refused(folder, reason, errno.ENOSPC if full else error.errno, other) from error
    except Exception as error:
        if isinstance(error, DataError) or not any(words in str(error).lower() for words in _SAY_FULL):
            raise
        raise _refused(folder, os.strerror(errno.ENOSPC), errno.ENOSPC, other) from error


def reserve(file: Path) -> None:
    """Allocates the space of a sparse file before it is mapped into memory.

    Without it a full disk ends the process with SIGBUS when a page is written.

    Raises:
        DataError: If the disk does not hold it.
    """
    if not hasattr(os, "posix_fallocate"):
        return
    with writing(file.parent), file.open("r+b") as stream:
        try:
            os.posix_fallocate(stream.fileno(), 0, file.stat().st_size)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):  # a file system that cannot reserve
                file.unlink()
                raise


def _refused(folder: Path, reason: str, number: int | None, other: str) -> CannotWrite:
    if number in FULL:
        return CannotWrite(f"Cannot write to {folder}: {reason}.", f"Free some space or {other}.")
    if number == errno.EFBIG:
        remedy = f"The limit on file sizes is too low: raise it (ulimit -f) or {other}."
        return CannotWrite(f"Cannot write to {folder}: {reason}.", remedy)
    return CannotWrite(f"Cannot write to {folder}: {reason}.", f"{other[0].upper()}{other[1:]}.")


def _is_full(folder: Path) -> bool:
    with suppress(OSError):
        return shutil.disk_usage(folder).free < 1 << 20
    return False


@lru_cache(maxsize=1024)
def _sweep_once(folder: Path) -> None:
    """Removes leftovers when a process first writes to a folder, with one listing per folder."""
    _sweep(folder, locked=False)


def _sweep(folder: Path, *, locked: bool) -> None:
    with suppress(OSError):
        for part in folder.glob(".tmp-*"):
            match = _PART.match(part.name)
            if match and (locked or not _alive(part, match[1], int(match[2]))):
                _remove(part)


def _alive(part: Path, host: str, pid: int) -> bool:
    """Whether the writer of a temporary file may still be running; on another host, for up to a day."""
    try:
        written = part.stat().st_mtime
    except FileNotFoundError:
        return True
    if host != _HOST:
        return time.time() - written < _DAY
    if pid == os.getpid():  # in containers a killed process often had the same number
        return written >= _STARTED
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return time.time() - written < _DAY


def _remove(part: Path) -> None:
    if part.is_dir() and not part.is_symlink():
        shutil.rmtree(part, ignore_errors=True)
    else:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def between_markers(page: str, begin: str, end: str, text: str) -> str | None:
    """Returns a page with a text between two of its lines, or None if it lacks one of them."""
    head, found, rest = page.partition(begin)
    _, closed, tail = rest.partition(end)
    return f"{head}{begin}\n\n{text.strip()}\n\n{end}{tail}" if found and closed else None
