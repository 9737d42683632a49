"""Reading image files of any supported format."""
