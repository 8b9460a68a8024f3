"""The state of an unfinished training: how it is written, found and restored."""
