"""What a run says of itself: one line an event in a log, one bar in a terminal."""
