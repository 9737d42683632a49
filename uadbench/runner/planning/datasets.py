"""From a dataset's name and ``--source`` to an open store."""

from __future__ import annotations

import shutil
from pathlib import Path

from filelock import FileLock

from uadbench.core.cache import cache_folder
from uadbench.core.catalog import DATASETS
from uadbench.core.dataset import Progress
from uadbench.core.errors import DataError
from uadbench.core.phantom_fingerprint import check_fingerprint
from uadbench.data.storage.folds import fold_folders
from uadbench.data.storage.store import FORMAT, Store


def open_source(dataset: str, source: str, progress: Progress) -> Store:
    """Opens the phantom of a dataset (simulated on first use and cached) or a prepared folder.

    Args:
        dataset: Registry name.
        source: "phantom" or the path of a prepared store.
        progress: Called while the phantom is simulated.

    Raises:
        UnknownName: If there is no such dataset.
        DataError: If the folder holds another dataset or is damaged, or the phantom is not the committed one.
    """
    kind = DATASETS.load(dataset)
    if source != "phantom":
        if folds := fold_folders(Path(source)):
            raise DataError(f"{source} holds {len(folds)} folds.", f"Give one of them: {folds[0]}.")
        store = Store(Path(source))
        if store.manifest.dataset != dataset:
            raise DataError(
                f"{source} holds '{store.manifest.dataset}', not '{dataset}'.",
                f"Use --dataset {store.manifest.dataset}.",
            )
        return store
    maker = kind()
    folder = phantom_folder(dataset)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_suffix(".lock")):
        if not (folder / "manifest.json").exists():
            maker.make_phantom(folder, progress)
        store = Store(folder)
        try:
            check_fingerprint(dataset, maker.version, store.manifest.fingerprint)
        except DataError:
            # If it were kept, it would outlive the repair of its generator.
            shutil.rmtree(folder)
            raise
    return store


def phantom_folder(dataset: str) -> Path:
    """Returns the cache path of a dataset's phantom, for this generator, its parameters and this store format.

    Args:
        dataset: Registry name.
    """
    kind = DATASETS.load(dataset)
    return cache_folder() / f"{dataset}-{kind.version}-{kind().phantom_key()}-{FORMAT}"
