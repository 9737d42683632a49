"""What commands show and how they end: tables, summaries, progress, completion, interruptions."""
