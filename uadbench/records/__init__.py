"""Records on disk: reading with checks, their tables, and export."""
