"""From what a user asks for to a frozen job with open data."""
