"""A training by many processes: how they are started, and how they speak with the engine."""
