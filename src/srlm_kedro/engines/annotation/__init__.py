"""Annotators: who prefers which of two outputs to one instruction."""
