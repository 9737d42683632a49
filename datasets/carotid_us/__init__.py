"""Transverse carotid ultrasound: a simulated phantom, and real healthy images with inserted plaques."""

from uadbench.datasets.carotid_us.dataset import CarotidUS

__all__ = ["CarotidUS"]
