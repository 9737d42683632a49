"""The tiny store as a registered dataset with a phantom, for tests of what a record may claim of its data."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

from tests.conftest import write_store
from uadbench.core.catalog import DATASETS
from uadbench.core.dataset import DatasetCard, Progress, Recipe
from uadbench.core.errors import UserError
from uadbench.data.storage.manifest import UNHASHED, StoreManifest, fingerprint

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

    def make_phantom(self, out: Path, progress: Progress) -> None:
        del progress
        write_store(out, dataset=NAME, frames=self.frames)
        relabel(out, version=self.version, recipe=f"phantom-{self.phantom_key()}")

    def prepare(self, source: Path, out: Path, recipe: Recipe, workers: int, progress: Progress) -> str:
        del source, out, recipe, workers, progress
        raise UserError("There are no raw files of discs.")


def relabel(store: Path, **head: object) -> Path:
    """Changes what a manifest says of the data, its fingerprint with it."""
    file = store / "manifest.json"
    manifest = StoreManifest.model_validate_json(file.read_bytes()).model_copy(update=head)
    hashed = manifest.model_dump(mode="json", exclude=UNHASHED)
    marked = manifest.model_copy(update={"fingerprint": fingerprint(hashed, manifest.items)})
    file.write_text(marked.model_dump_json(indent=1))
    return store


@contextmanager
def registered() -> Iterator[type[TinyDataset]]:
    """Registers the dataset for as long as the context lasts."""
    known: dict[str, object] = DATASETS._classes  # pyright: ignore[reportPrivateUsage] # noqa: SLF001
    DATASETS.register(NAME)(TinyDataset)
    try:
        yield TinyDataset
    finally:
        known.pop(NAME, None)
