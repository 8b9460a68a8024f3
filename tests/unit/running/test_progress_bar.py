"""The bar in a pseudo-terminal."""

import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

from srlm_kedro.running.progress_bar import progress_bar

ROOT = Path(__file__).parents[3]
RUNS = """
import logging, time
from kedro.io import DataCatalog, MemoryDataset
from kedro.pipeline import Node, Pipeline
from srlm_kedro.display import progress
from srlm_kedro.running.progress_bar import progress_bar

logging.basicConfig(level=logging.INFO, format="LINE %(message)s")
logging.getLogger().handlers[0].name = "told"
nodes = [Node(abs, "a", "b", name="m2.judge_own"), Node(abs, "b", "c", name="m2.train_dpo")]
with progress_bar() as bar:
    bar.before_pipeline_run(Pipeline(nodes), DataCatalog({"a": MemoryDataset(1)}))
    for node in nodes:
        progress.node.set(node.name)
        bar.before_node_run(node)
        with progress.Progress("m2", total=2) as work:
            work.add(1)
            time.sleep(1.2)
        logging.info("word " * 40 + "[bold]end[/]")
        bar.after_dataset_saved(node.outputs[0], node)
logging.info("afterwards")
"""


def in_terminal(code):
    """All that a program writes to a terminal, including what it overwrites."""
    leader, follower = pty.openpty()
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "TERM": "xterm", "COLUMNS": "90"}
    ends = {"stdin": follower, "stdout": follower, "stderr": follower}
    process = subprocess.Popen([sys.executable, "-c", code], env=environment, **ends)
    os.close(follower)
    said = b""
    try:
        while piece := os.read(leader, 4096):
            said += piece
    except OSError:  # the other end is closed
        pass
    os.close(leader)
    assert process.wait() == 0, said.decode()
    return said.decode()


def test_one_bar_shows_the_run_and_lines_stand_above_it():
    """It shows stage, count, share and time; log lines are complete and not read as markup."""
    said = in_terminal(RUNS)
    plain = re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", said)
    pieces = [piece for piece in re.split(r"[\r\n]+", plain) if piece]
    lines = [piece for piece in pieces if piece.startswith("LINE")]
    bars = [piece for piece in pieces if not piece.startswith("LINE")]
    long = "LINE " + "word " * 40 + "[bold]end[/]"
    assert lines == [long, long, "LINE afterwards"]
    told = r"(1/2 M2: judging its own answers|2/2 M2: learning from pairs \(DPO\))"
    assert any(re.match(rf"{told}, 1 of 2 .*\d% [\d.]+ s", bar) for bar in bars)
    assert all(re.match(rf"{told}|starting|ending", bar) and len(bar) <= 90 for bar in bars)
    shares = [int(re.search(r"(\d+)%", bar)[1]) for bar in bars]
    assert shares == sorted(shares)
    # The cursor is visible at the end, and the bar is erased.
    assert said.rindex("\x1b[?25h") > said.rindex("\x1b[?25l")
    assert "\x1b[2K" in said[said.rindex("ending") :]


@pytest.mark.parametrize("wanted", [True, False])
def test_where_nobody_watches_there_is_no_bar(wanted, capfd):
    """There is none either if nodes run in other processes."""
    with progress_bar(wanted) as bar:
        assert bar is None
    assert capfd.readouterr() == ("", "")
