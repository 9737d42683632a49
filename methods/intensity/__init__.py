"""The intensity of a pixel: a trivial baseline."""
