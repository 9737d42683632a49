"""Random scores: a trivial baseline."""
