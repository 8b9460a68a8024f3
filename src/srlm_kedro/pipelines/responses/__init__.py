"""Candidate responses to the new prompts."""
