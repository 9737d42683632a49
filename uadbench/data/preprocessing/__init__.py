"""Body masks and intensity scales."""
