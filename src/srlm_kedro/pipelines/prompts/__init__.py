"""New prompts, written by a model and sieved."""
