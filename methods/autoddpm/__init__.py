"""AutoDDPM: mask, stitch and re-sample."""

from uadbench.methods.autoddpm.method import AutoDdpm

__all__ = ["AutoDdpm"]
