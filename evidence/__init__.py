"""What the loop is shown to do: many seeds, controls, and one page beside the paper's numbers."""
