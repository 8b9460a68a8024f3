"""Pre-training: a small model is trained from scratch."""
