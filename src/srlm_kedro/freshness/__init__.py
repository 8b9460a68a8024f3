"""What every output was made from, and what has to be made again."""
