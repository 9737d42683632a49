"""The figures of the site."""
