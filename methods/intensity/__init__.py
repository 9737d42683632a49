"""How bright or dark a pixel is: a trivial baseline."""

from uadbench.methods.intensity.method import Intensity

__all__ = ["Intensity"]
