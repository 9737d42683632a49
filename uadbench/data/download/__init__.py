"""Sources of raw data, and their download."""
