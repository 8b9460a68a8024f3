"""A small model trained from scratch."""
