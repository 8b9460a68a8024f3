"""What people use today, each run as its own documentation has it."""
