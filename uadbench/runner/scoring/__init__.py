"""Metrics of stored maps, whether of a run or of an external system."""
