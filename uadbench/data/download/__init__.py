"""Getting raw data: what a dataset's sources are, and how they come here."""
