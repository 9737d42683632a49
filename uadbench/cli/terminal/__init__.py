"""Terminal output and endings of commands: tables, summaries, progress, completion, interruptions."""
