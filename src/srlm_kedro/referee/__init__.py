"""Who compares models at evaluation: an oracle, or a language model from outside the loop."""
