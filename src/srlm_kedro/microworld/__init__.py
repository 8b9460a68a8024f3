"""A small world of instructions in restricted English whose answers have exact scores."""
