"""From a user's request to a frozen job with open data."""
