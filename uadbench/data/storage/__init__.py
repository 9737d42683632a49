"""Prepared stores: writing, reading, checking and drawing them."""
