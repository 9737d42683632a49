"""The protocol file and its threshold rules."""
