"""The two registries. Importing this imports no method, no dataset and no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from uadbench.core.registry import Registry

if TYPE_CHECKING:
    from uadbench.core.config import MethodConfig
    from uadbench.core.dataset import Dataset
    from uadbench.core.method import Method


def config_type(method: str) -> type[MethodConfig]:
    """Returns the type of a method's config, without importing the method (and torch) if ``config.py`` defines it.

    Raises:
        UnknownName: If there is no such method.
    """
    module = METHODS.submodule(method, "config")
    if module is not None:
        from uadbench.core.config import MethodConfig

        for value in vars(module).values():
            if isinstance(value, type) and issubclass(value, MethodConfig) and value.__module__ == module.__name__:
                return value
    return METHODS.load(method).config_type


METHODS: Registry[type[Method]] = Registry("method", "uadbench.methods")
DATASETS: Registry[type[Dataset]] = Registry("dataset", "uadbench.datasets")
