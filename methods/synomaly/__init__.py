"""Synomaly noise and multi-stage diffusion."""

from uadbench.methods.synomaly.method import Synomaly

__all__ = ["Synomaly"]
