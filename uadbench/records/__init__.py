"""Records on disk: reading them with checks, the tables beside them, and exporting a run's record."""
