"""The fast path of sampling: what rows share is computed and held only once."""
