"""How far a long drawing is."""

import logging

from srlm_kedro.engines.generation.progress import Progress


def test_a_log_gets_a_line_now_and_then(caplog):
    """Without a terminal a line comes every half minute, with rate and time left."""
    times = iter([0.0, 10.0, 40.0, 60.0])
    with (
        caplog.at_level(logging.INFO),
        Progress("m2", total=100, clock=lambda: next(times)) as progress,
    ):
        progress.add(10, 200)
        progress.add(30, 600)
        progress.add(10, 200)
    assert caplog.messages == ["m2: 40 of 100 completions, 20 tokens/s, about 60 s left"]
