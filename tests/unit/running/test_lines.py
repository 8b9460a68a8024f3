"""One line an event."""

import io
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from srlm_kedro.display.log_lines import OneLine, redirected
from tests.hostile import is_harmless

ROOT = Path(__file__).parents[3]
SAYS = """
import logging, warnings
from kedro.framework.project import LOGGING
from srlm_kedro.display import log_lines
log_lines.set_up()
log = logging.getLogger("srlm_kedro.here")
log.info("word " * 40 + "end")
log.warning("first\\n  second\\n\\nthird [bold]m2[/] [[A]]")
logging.getLogger("kedro.framework.session").info("of nobody's concern")
warnings.warn("for developers")
"""


def test_a_long_event_is_one_line_and_so_is_one_of_many_lines():
    """As conf/logging.yml has it: time, level, text; no colours, nothing wrapped, no markup read.

    What other packages say to developers does not appear.
    """
    done = subprocess.run(
        [sys.executable, "-c", SAYS],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={
            **os.environ,
            "KEDRO_LOGGING_CONFIG": str(ROOT / "conf/logging.yml"),
            "PYTHONPATH": str(ROOT / "src"),
            "COLUMNS": "80",
        },
    )
    first, second = done.stderr.splitlines()
    assert first[19:] == " INFO " + "word " * 40 + "end"
    assert second[19:] == " WARNING first | second | third [bold]m2[/] [[A]]"
    assert done.stdout == ""


def record(message, error=None):
    info = (type(error), error, None) if error else None
    return logging.LogRecord("here", logging.INFO, "", 0, message, (), info)


def test_a_line_steers_no_terminal():
    """Whoever wrote the text."""
    assert is_harmless(OneLine().format(record("\x1b[2Jm2 \u202e said")))


def test_a_traceback_follows_its_line():
    """It is for those who look for a fault."""
    line, *rest = OneLine().format(record("lost\nall", ValueError("why"))).splitlines()
    assert line == "lost | all"
    assert rest == ["ValueError: why"]


@pytest.fixture
def handler():
    made = logging.StreamHandler(io.StringIO())
    made.name = "told"
    logging.getLogger().addHandler(made)
    yield made
    logging.getLogger().removeHandler(made)


def test_lines_go_above_a_bar_and_then_where_they_went(handler):
    """However what was at work ends."""
    before, over = handler.stream, io.StringIO()

    def fail():
        with redirected(over):
            logging.getLogger("here").warning("above")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    logging.getLogger("here").warning("after")
    assert (over.getvalue(), before.getvalue()) == ("above\n", "after\n")
