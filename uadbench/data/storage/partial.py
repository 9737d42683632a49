"""The folder of an unfinished store, from which an interrupted writer resumes.

It is next to the store, as ``.NAME.partial``::

    journal.jsonl   what is made, as hashes; then the items of each finished job, one line per job
    store/          the arrays so far, laid out as in a store; becomes the store when complete
    lock            held by the process that writes
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

from filelock import FileLock, Timeout
from pydantic import TypeAdapter, ValidationError

from uadbench.core.errors import DataError
from uadbench.core.files import atomic_text, writing
from uadbench.data.storage.manifest import Item

ARRAYS = {"image": 2, "body": 1, "mask": 1}
"""Bytes per value of each array."""

ITEMS = TypeAdapter(list[Item])


class Partial:
    """An unfinished store.

    Args:
        out: Folder of the finished one.
    """

    def __init__(self, out: Path) -> None:
        self._out = out
        self._folder = out.with_name(f".{out.name}.partial")
        self._lock = FileLock(self._folder / "lock", timeout=0)
        self._files: dict[str, IO[bytes]] = {}
        self._lines: list[bytes] = []
        self._jobs = 0

    def open(self) -> None:
        """Creates the folder, or finds that of an interrupted writer, and locks it.

        Raises:
            DataError: If another process has the lock, or the system refuses to write.
        """
        new = not self._folder.exists()
        with writing(self._out.parent):
            self._folder.joinpath("store").mkdir(parents=True, exist_ok=True)
            try:
                self._lock.acquire()
            except Timeout as error:
                raise DataError(f"Another process is writing {self._out}.", "Wait for it.") from error
        try:
            with writing(self._out.parent):
                journal = self._files["journal"] = (self._folder / "journal.jsonl").open("a+b")
                journal.seek(0)
                self._lines = journal.readlines()
                self._jobs = max(len(self._lines) - 1, 0)
                for name in ARRAYS:
                    self._files[name] = (self._folder / "store" / f"{name}.bin").open("a+b")
        except DataError:
            self.close(keep=not new)
            raise

    def begin(self, making: Mapping[str, str]) -> list[list[Item]]:
        """Resumes an interrupted writer of the same store, or starts a new one.

        Args:
            making: Hashes of what is being written, by name.

        Returns:
            The items of each job that is finished.

        Raises:
            DataError: If the system refuses to write.
        """
        head = json.dumps(making).encode() + b"\n"
        first, *lines = self._lines or [b""]
        if lines and first != head:
            logging.getLogger(__name__).warning(
                "%s belongs to an interrupted writer with different %s: it is not used.",
                self._folder,
                " and ".join(_differing(first, making)),
            )
        kept = self._whole(lines) if first == head else []
        with writing(self._out.parent):
            journal = self._files["journal"]
            journal.truncate(sum(map(len, [first, *lines[: len(kept)]])) if first == head else 0)
            if first != head:
                journal.write(head)
            journal.flush()
            for name in ARRAYS:
                self._files[name].truncate(sum(_bytes(name, item) for items in kept for item in items))
        self._jobs = len(kept)
        return kept

    def write(self, name: str, data: bytes) -> None:
        """Appends to an array.

        Raises:
            DataError: If the system refuses to write.
        """
        with writing(self._out.parent):
            self._files[name].write(data)

    def commit(self, items: Sequence[Item]) -> None:
        """Records that a job is finished, after its pixels have been flushed.

        Raises:
            DataError: If the system refuses to write.
        """
        with writing(self._out.parent):
            for name in ARRAYS:
                self._files[name].flush()
            self._files["journal"].write(ITEMS.dump_json(list(items)) + b"\n")
            self._files["journal"].flush()
        self._jobs += 1

    def finish(self, manifest: str) -> None:
        """Makes it the finished store.

        Raises:
            DataError: If the system refuses to write.
        """
        with writing(self._out.parent):
            for name in ARRAYS:
                self._files[name].close()
            atomic_text(self._folder / "store" / "manifest.json", manifest)
            if self._out.exists():
                self._out.rmdir()
            (self._folder / "store").rename(self._out)

    def close(self, *, keep: bool) -> None:
        """Releases the lock; removes the folder unless it should be kept and contains a finished job."""
        for file in self._files.values():
            # On a full disk, closing flushes buffers and fails again: the first error is the one to report.
            with suppress(OSError):
                file.close()
        if not (keep and self._jobs):
            shutil.rmtree(self._folder, ignore_errors=True)
        self._lock.release()

    def _whole(self, lines: Sequence[bytes]) -> list[list[Item]]:
        """Returns the items of the leading complete lines whose pixels exist, in case of power failure."""
        kept: list[list[Item]] = []
        for line in lines:
            try:
                items = ITEMS.validate_json(line)
            except ValidationError:
                break
            if not line.endswith(b"\n") or any(self._digest(item) != item.sha256 for item in items):
                break
            kept.append(items)
        return kept

    def _digest(self, item: Item) -> str:
        digest = hashlib.sha256()
        pixels = item.shape[1] * item.shape[2]
        for name in ARRAYS:
            size = _bytes(name, item)
            self._files[name].seek(item.offset * size // pixels)
            digest.update(self._files[name].read(size))
        return digest.hexdigest()


def discard_partial(out: Path) -> None:
    """Removes leftovers of a writer that was stopped after its store was complete.

    Raises:
        DataError: If another process is still writing it.
    """
    partial = Partial(out)
    partial.open()
    partial.close(keep=False)


def _bytes(name: str, item: Item) -> int:
    channels = item.shape[0] if name == "image" else 1
    return item.shape[1] * item.shape[2] * channels * ARRAYS[name]


def _differing(line: bytes, making: Mapping[str, str]) -> list[str]:
    try:
        before = dict(json.loads(line))
    except (ValueError, TypeError):
        before = {}
    return [name for name, value in making.items() if before.get(name) != value] or ["contents"]
