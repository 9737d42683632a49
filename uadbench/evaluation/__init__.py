"""Metrics, threshold rules, intervals and tests. Needs only NumPy, no model and no torch."""
