"""Reading files, preprocessing, the memory-mapped store and the batches made from it."""
