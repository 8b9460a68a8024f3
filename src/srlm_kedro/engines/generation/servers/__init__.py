"""Engines that sample on a server, or in a process of another Python environment."""
