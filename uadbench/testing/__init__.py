"""The conformance kit that third parties run on their own method or dataset."""
