"""How a run is composed, refused, started, stopped and shown."""
