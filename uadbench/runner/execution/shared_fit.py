"""Weights of one fit, shared by runs that differ only in test cohort, protocol or inference settings."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from uadbench.core.errors import DataError
from uadbench.core.files import atomic_text
from uadbench.records.layout import sha256_of
from uadbench.runner.storage.run_folder import RunFolder

SECONDS_FILE = "train_s.txt"


@dataclass(frozen=True)
class SharedFit:
    """The fit of a run: its own, or that of another run with the same key.

    A pointer next to the run folders names the run that holds the weights and their hash, so that no search is needed
    and weights made in another way are not taken.

    Args:
        folder: Folder of the run.
        key: Hash of what defines the fit and of how it is computed.
    """

    folder: RunFolder
    key: str

    def take(self) -> bool:
        """Copies the weights of the run that holds this fit, if there is one and this run has none of its own.

        Returns:
            Whether this run's folder holds the weights of this fit.
        """
        try:
            name, digest = self._pointer.read_text().split()
            source = RunFolder(self.folder.path.with_name(name))
            source.require_version()
            held = sha256_of(source.weights_file) == digest and (source.path / SECONDS_FILE).exists()
        except (OSError, ValueError, DataError):
            return False
        if source.path == self.folder.path or not held:
            return held
        if self.folder.weights_file.exists():
            return sha256_of(self.folder.weights_file) == digest
        for file in (SECONDS_FILE, source.weights_file.name):  # weights last: they say that the fit is done
            self.folder.write(file, lambda path, file=file: shutil.copyfile(source.path / file, path))
        return True

    def offer(self) -> None:
        """Makes the weights in this run's folder those that others take."""
        atomic_text(self._pointer, f"{self.folder.path.name} {sha256_of(self.folder.weights_file)}")

    @property
    def seconds(self) -> float:
        """Seconds of training that the weights took."""
        return float((self.folder.path / SECONDS_FILE).read_text())

    def note_seconds(self, seconds: float) -> None:
        """Stores the seconds of training; the weights follow."""
        self.folder.write_text(SECONDS_FILE, f"{seconds:.3f}")

    @property
    def _pointer(self) -> Path:
        return self.folder.path.parent / ".fits" / self.key
