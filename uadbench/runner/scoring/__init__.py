"""Metrics of stored maps, from a run or an external system."""
