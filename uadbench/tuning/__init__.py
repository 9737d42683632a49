"""Tuning without access to the test data: Optuna over a method's space, one fit for many inference settings."""
