"""AnoDDPM: partial diffusion with simplex noise."""

from uadbench.methods.anoddpm.method import AnoDdpm

__all__ = ["AnoDdpm"]
