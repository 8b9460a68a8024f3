"""Kills a small whole run at any moment, and looks whether anything was lost: `make torture`."""
