"""The static pages."""
