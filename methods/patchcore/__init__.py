"""Nearest neighbours in a memory of healthy patch features."""

from uadbench.methods.patchcore.method import PatchCore

__all__ = ["PatchCore"]
