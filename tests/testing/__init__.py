"""Tests of uadbench.testing."""
