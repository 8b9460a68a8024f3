"""What is kept of a training that has not ended."""
