"""Downloads one file to a folder, resuming interrupted transfers, and checks it."""

from __future__ import annotations

import errno
import hashlib
import json
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pooch
import requests

from uadbench.core.errors import DataError
from uadbench.core.files import atomic_text, writing
from uadbench.data.download.sources import RemoteFile

CHECKSUMS = "checksums.json"
"""File with the SHA-256, from the first download, of files without a published checksum."""

CHUNK = 1 << 20
TIMEOUT = 60.0
Bytes = Callable[[int, int, str], None]


class Resuming:
    """A downloader for pooch that resumes a partial file of an earlier attempt if the source has not changed.

    Args:
        part: Path of the partial file.
        progress: Called with (bytes so far, total bytes or 0, name).
    """

    def __init__(self, part: Path, progress: Bytes) -> None:
        self._part = part
        self._version = part.with_name(part.name + ".version")
        self._progress = progress

    def __call__(self, url: str, output_file: Any, pooch: Any, check_only: bool = False) -> None:
        """Downloads ``url`` to ``output_file``, the interface that pooch requires.

        Raises:
            DataError: If the server cannot be reached or refuses, the transfer breaks off, or the disk is full.
        """
        version = self._version.read_text() if self._version.exists() else ""
        have = self._part.stat().st_size if self._part.exists() and version else 0
        headers = {"Accept-Encoding": "identity"}
        if have:
            headers |= {"Range": f"bytes={have}-", "If-Range": version}
        try:
            with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as answer:
                if answer.status_code == requests.codes.requested_range_not_satisfiable:
                    self._forget()
                    raise DataError(f"The partial file of {url} does not match the file.", "Run the command again.")
                answer.raise_for_status()
                self._receive(answer, have if answer.status_code == requests.codes.partial_content else 0)
        except requests.HTTPError as error:
            raise DataError(f"{url} answers: {error}.", "See the landing page for a new address.") from error
        except requests.RequestException as error:
            raise DataError(
                f"The transfer of {url} broke off: {type(error).__name__}.",
                "Run the same command to resume.",
            ) from error
        with writing(self._part.parent):
            self._version.unlink(missing_ok=True)
            self._part.replace(output_file)

    def _receive(self, answer: requests.Response, have: int) -> None:
        size = int(answer.headers.get("Content-Length", 0))
        total = have + size if size else 0
        folder = self._part.parent
        with writing(folder):
            if size > shutil.disk_usage(folder).free:
                raise OSError(
                    errno.ENOSPC, f"{size / 1e9:.1f} GB needed, {shutil.disk_usage(folder).free / 1e9:.1f} GB free"
                )
            # Only a strong validator shows that the file is unchanged; without one, a partial file is not resumed.
            tag = answer.headers.get("ETag", "")
            self._version.write_text("" if tag.startswith("W/") else tag or answer.headers.get("Last-Modified", ""))
        with self._part.open("ab" if have else "wb") as file:
            for chunk in answer.iter_content(CHUNK):
                with writing(folder):
                    file.write(chunk)
                have += len(chunk)
                self._progress(have, total, self._part.name)
        if total and have < total:
            raise requests.ConnectionError(f"{have} of {total} bytes")

    def _forget(self) -> None:
        self._part.unlink(missing_ok=True)
        self._version.unlink(missing_ok=True)


def fetch(file: RemoteFile, folder: Path, progress: Bytes) -> str:
    """Downloads a file to a folder unless it is already complete, and returns a line about its checksum.

    Raises:
        DataError: If it cannot be downloaded, or its checksum is wrong; such a file is removed.
    """
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    book = _read_book(folder)
    known = file.checksum or book.get(file.name, "")
    part = folder / f".{file.name}.part"
    quiet = pooch.get_logger()
    quiet.setLevel("ERROR")  # pooch would advise to put an unknown hash into code
    downloader: Any = Resuming(part, progress)  # pooch's own type names its arguments differently
    try:
        path = pooch.retrieve(file.url, known_hash=known or None, fname=file.name, path=folder, downloader=downloader)
    except ValueError as error:
        raise DataError(
            f"{file.name} does not match its checksum ({known}), so it was removed.",
            "Run the command again; if that does not help, the publisher has changed the file: see the landing page.",
        ) from error
    if file.checksum:
        return f"{file.name}: matches the checksum in sources.yaml."
    if known:
        return f"{file.name}: same as at the first download ({known}); no checksum is published."
    book[file.name] = f"sha256:{_sha256(Path(path))}"
    atomic_text(folder / CHECKSUMS, json.dumps(book, indent=1, sort_keys=True) + "\n")
    return f"{file.name}: NOT CHECKED, its checksum is unknown. Recorded in {CHECKSUMS}: {book[file.name]}."


def unpack(file: Path, folder: Path) -> None:
    """Unpacks an archive into a folder; nothing in it may leave the folder.

    Raises:
        DataError: If it is damaged, reaches outside, or the disk is full.
    """
    with writing(folder):
        try:
            if ".tar" in file.suffixes:
                shutil.unpack_archive(file, folder, filter="data")
            else:
                shutil.unpack_archive(file, folder)
        except (shutil.ReadError, zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, ValueError) as error:
            raise DataError(f"{file} cannot be unpacked: {error}.", "Remove it and download it again.") from error


def _read_book(folder: Path) -> dict[str, str]:
    file = folder / CHECKSUMS
    if not file.exists():
        return {}
    try:
        found: dict[str, str] = json.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise DataError(f"{file} cannot be read.", "Repair or remove it.") from error
    return {str(name): str(value) for name, value in found.items()}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
