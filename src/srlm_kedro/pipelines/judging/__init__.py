"""Judgements and rewards of the candidates."""
