"""Ranked tables and their text formats."""
