"""Engines that speak to a server, or to a process in another environment."""
