"""Preference pairs out of rewards."""
