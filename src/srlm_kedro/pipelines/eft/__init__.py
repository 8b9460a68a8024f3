"""Evaluation fine-tuning examples: what teaches a model to judge."""
