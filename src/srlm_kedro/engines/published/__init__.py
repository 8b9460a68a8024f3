"""Engines of published benchmarks: who annotates, who measures."""
