"""The folder of a run, and stored runs opened again."""
