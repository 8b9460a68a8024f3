"""Models in GGUF files: what a file says of its model, and the Hugging Face folder made from it."""
