"""The two registries. Importing this imports no method, no dataset and no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from uadbench.core.registry import Registry

if TYPE_CHECKING:
    from uadbench.core.dataset import Dataset
    from uadbench.core.method import Method

METHODS: Registry[type[Method]] = Registry("method", "uadbench.methods")
DATASETS: Registry[type[Dataset]] = Registry("dataset", "uadbench.datasets")
