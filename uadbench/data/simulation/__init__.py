"""Building blocks of phantoms and synthetic lesions."""
