"""Tuning with the test data closed: Optuna over a method's space, one fit for many settings of inference."""
