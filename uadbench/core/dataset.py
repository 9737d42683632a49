"""The interface of a dataset: a versioned recipe that turns raw files, or a simulation, into a store."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import ClassVar, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field

Recipe = Literal["strict", "paper"]
Source = Literal["phantom", "semi-synthetic", "real"]
Progress = Callable[[int, int, str], None]


def no_progress(done: int, total: int, what: str) -> None:
    """Shows no progress."""


class DatasetCard(BaseModel):
    """Description of a dataset.

    Attributes:
        title: Name in words.
        modality: "MRI", "CT" or "US".
        organ_modality: Modality and organ of its phantom, e.g. "ct-liver" (see ``StoreManifest.modality``).
        licence: Licence and attribution.
        access: How to obtain the data.
        polarity: Sign of the expected lesion contrast (+1, -1, or 0 when mixed or unknown).
        patients: Patients of each cohort as published, and of the cohort "phantom"; stores are compared with them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    title: str
    modality: str
    organ_modality: str = ""
    licence: str
    access: str
    polarity: int = 0
    patients: dict[str, int] = Field(default_factory=dict[str, int])


class Dataset(Protocol):
    """A dataset. Both methods write a store (``uadbench.data.storage.store.StoreWriter``) into ``out``."""

    name: ClassVar[str]
    version: ClassVar[str]
    card: ClassVar[DatasetCard]

    def phantom_key(self) -> str:
        """Returns a hash of the phantom's generator version and parameters: the key of its cache.

        Raises:
            UserError: If the dataset has no phantom.
        """
        ...

    def make_phantom(self, out: Path, progress: Progress, seed: int = 0) -> None:
        """Simulates the dataset, the same for the same seed.

        Args:
            out: Folder of the store, created by this call.
            progress: Called with (done, total, what).
            seed: 0 for the phantom of the benchmark; other seeds give other patients with the same parameters.
        """
        ...

    def prepare(self, source: Path, out: Path, recipe: Recipe, workers: int, progress: Progress) -> str:
        """Converts raw files.

        Args:
            source: The folder with the raw public layout.
            out: Folder of the store, created by this call.
            recipe: "strict" or "paper".
            workers: Processes to use.
            progress: Called with (done, total, what).

        Returns:
            One line that states which layout was found.

        Raises:
            DataError: If a file cannot be used; no partial store is left.
        """
        ...
