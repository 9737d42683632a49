"""Working templates of a method or dataset, written by ``uadbench new``."""
