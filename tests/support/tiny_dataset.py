"""The tiny store as a registered dataset with a phantom, for tests of what a record may claim of its data."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

from tests.support.stores import write_store
from uadbench.core.catalog import DATASETS
from uadbench.core.dataset import DatasetCard, Progress, Recipe
from uadbench.core.errors import UserError

NAME = "tiny_us"


class TinyDataset:
    """Frames with a bright disc as lesion."""

    name: ClassVar[str] = NAME
    version: ClassVar[str] = "1"
    card: ClassVar[DatasetCard] = DatasetCard(
        title="Discs", modality="US", licence="made up", access="made here", polarity=1
    )
    frames: ClassVar[int] = 1

    def phantom_key(self) -> str:
        return "discs"

    def make_phantom(self, out: Path, progress: Progress, seed: int = 0) -> None:
        del progress
        recipe = f"phantom-{self.phantom_key()}"
        name = "tiny" if seed == 0 else f"tiny-{seed}"
        write_store(out, dataset=NAME, name=name, frames=self.frames, version=self.version, recipe=recipe)

    def prepare(self, source: Path, out: Path, recipe: Recipe, workers: int, progress: Progress) -> str:
        del source, out, recipe, workers, progress
        raise UserError("There are no raw files of discs.")


@contextmanager
def registered() -> Generator[type[TinyDataset]]:
    """Registers the dataset for as long as the context lasts."""
    DATASETS.register(NAME)(TinyDataset)
    try:
        yield TinyDataset
    finally:
        DATASETS._classes.pop(NAME, None)  # pyright: ignore[reportPrivateUsage]
