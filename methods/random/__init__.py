"""Noise: the trivial baseline that knows nothing."""

from uadbench.methods.random.method import Random

__all__ = ["Random"]
