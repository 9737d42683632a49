"""Measurements of speed and scale; threads wait as in runs, which importing the package first makes sure of."""

import uadbench

__all__ = ["uadbench"]
