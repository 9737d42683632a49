"""Noise: the trivial baseline that knows nothing."""
