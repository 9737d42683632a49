"""Types, protocols, registry, configuration, seeds, records and errors. No training, no file formats."""
