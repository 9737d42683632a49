"""The protocol file and the threshold rules that it names."""
