"""Fitting of methods, shared by runs, studies, isolated child processes and the detector."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch

from uadbench.core.config import MethodConfig
from uadbench.core.method import FitContext, Method
from uadbench.core.roles import Role
from uadbench.core.types import Batches, ImageSpec
from uadbench.data.storage.batches import StoreBatches
from uadbench.data.storage.store import Item, Pixels
from uadbench.runner.planning.label_subset import labelled_subset


class HasRoles(Pixels, Protocol):
    """A store, or the part of one that a study may read."""

    def role(self, role: Role) -> Sequence[Item]:
        """Returns the items of a role."""
        ...


def fit_method(
    method: Method, train: Batches, calib: Batches, context: FitContext, labelled: Batches | None = None
) -> None:
    """Fits a method and restores the global random state of the CPU."""
    with torch.random.fork_rng(devices=[]):
        method.fit(train, calib, context, labelled=labelled)


def fit_on_store(
    method: Method, store: HasRoles, spec: ImageSpec, config: MethodConfig, seed: int, context: FitContext
) -> None:
    """Fits a method on the roles of a store; a supervised method gets its share of the labelled patients.

    Args:
        method: Method to fit.
        store: Data with the roles train, calib and labelled.
        spec: Shape of the images.
        config: Its settings; ``label_fraction`` sets its share of the labelled patients.
        seed: Seed of the run, which selects them.
        context: Device, seeds, reports and checkpoints.
    """
    train, calib = (StoreBatches(store, list(store.role(role)), spec) for role in (Role.TRAIN, Role.CALIB))
    items = labelled_subset(store.role(Role.LABELLED), method.supervision, config, seed)
    labelled = None if items is None else StoreBatches(store, items, spec, masks=True)
    fit_method(method, train, calib, context, labelled)
