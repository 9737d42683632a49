"""Whether the seeds of a row are separate trainings."""

from __future__ import annotations

from collections.abc import Sequence

from uadbench.core.job import EXTERNAL
from uadbench.core.record import Record

MADE_BY_A_FIT = {"weights.safetensors": "weights", "maps/test/maps.npy": "test maps", "cases.csv": "results per case"}


def repeated_training(records: Sequence[Record]) -> str:
    """Returns why finished records of several seeds share one training, "" if they do not.

    A method that draws training images at random learns different weights with each seed. One that draws none, such
    as a trivial baseline, may give the same results for all seeds; this is not assumed for external systems.

    Args:
        records: Records that differ only in their seed.
    """
    for name, words in MADE_BY_A_FIT.items():
        seen: dict[str, int] = {}
        for record in sorted(records, key=lambda record: record.seed):
            digest = record.hashes.get(name)
            if digest is None or not _draws(record):
                continue
            first = seen.setdefault(digest, record.seed)
            if first != record.seed:
                return f"seeds {first} and {record.seed} have the same {words}: one training is one seed"
    return ""


def _draws(record: Record) -> bool:
    """Whether the seed affects the training, which a record that does not say its cost may not deny.

    The number of images is checked against the registered config.
    """
    if record.method.preset == EXTERNAL:
        return True
    return record.cost is None or record.cost.train_images_seen > 0
