"""Roles of patients and kinds of supervision: names that need no torch."""

from __future__ import annotations

from enum import StrEnum


class Role(StrEnum):
    """The five disjoint sets of patients (docs/protocol.md)."""

    TRAIN = "train"
    CALIB = "calib"
    LABELLED = "labelled"
    VAL = "val"
    TEST = "test"


class Supervision(StrEnum):
    """Which labels a method learns from."""

    NONE = "none"
    HEALTHY = "healthy"
    MASKS = "masks"
