"""What people see of a run: text made safe, progress, lines in a log."""
