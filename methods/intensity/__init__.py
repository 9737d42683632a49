"""How bright or dark a pixel is: a trivial baseline."""
