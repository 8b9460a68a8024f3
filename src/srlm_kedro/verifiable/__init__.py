"""Instructions in plain English with constraints that a program can check."""
