"""Working skeletons of a method or a dataset, written by ``uadbench new``."""
