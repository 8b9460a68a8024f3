"""What a run writes into a log and onto a terminal."""

import json
import os
import pty
import re
import subprocess
import sys

from tests.integration.conftest import ROOT

TIME = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"
STAGE = "judging ranked responses of EFT"


def start(project, *arguments, **options):
    """A run to M1 from the command line; `options` say where its output goes."""
    return subprocess.Popen(
        [sys.executable, "-m", "kedro", "run", "--env=test", "--pipeline=foundation", *arguments],
        cwd=project.path,
        # as users have it, and not as tests do
        env={
            **{name: value for name, value in os.environ.items() if name != "KEDRO_LOGGING_CONFIG"},
            "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)]),
            "COLUMNS": "80",
            "TERM": "xterm",
        },
        **options,
    )


def test_a_log_gets_a_line_an_event_and_none_of_other_packages(project):
    """Lines have time, level and plain words, no colours or wraps; stdout has only the result."""
    (project.path / "mlruns/mlflow.db").unlink()  # as in a fresh clone
    process = start(project, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    printed, said = process.communicate()
    assert process.returncode == 0, said
    lines = said.splitlines()
    assert all(re.match(f"{TIME} (INFO|WARNING) ", line) for line in lines), said
    told = [line.split(" ", 3)[3] for line in lines]
    assert "\x1b" not in said
    # Every line comes from this project.
    ours = (
        r"\d+ nodes to run|\d+ of \d+, |[\w.]+: [\w.]+ is |MLflow: |seed data: |"
        r"\w+: \d+ rows from |eft: \d+ of \d+ judgements"
    )
    assert [line for line in told if not re.match(ours, line)] == []
    [begun, done] = [line for line in told if STAGE in line]
    assert re.fullmatch(rf"\d+ of \d+, {STAGE}", begun)
    assert re.fullmatch(rf"{re.escape(begun)}: done in [\d.]+ s", done)
    assert "Running node" not in said
    assert printed == ""
    counted = json.loads((project.path / ".viz/stats.json").read_text("utf-8"))
    assert counted["ift"]["rows"] > 0  # kedro-viz's own hook ran


def test_a_stage_that_fails_is_told_once_and_why(project):
    """Without the node's inputs, Kedro's advice to resume, or a traceback."""
    limit = "--params=eft.min_kept=1000000"
    process = start(project, limit, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    _, said = process.communicate()
    assert process.returncode == 1
    told = [line for line in said.splitlines() if not re.match(f"{TIME} (INFO|WARNING) ", line)]
    assert re.fullmatch(rf"{TIME} ERROR \d+ of \d+, selecting judgements .*: failed", told[0])
    assert [line[:7] for line in told[1:]] == ["Error: "]
    assert "eft.min_kept" in told[1]
    assert "--from-nodes" not in said


def screen(project, *arguments):
    """What a run writes to a terminal, and its exit status."""
    leader, follower = pty.openpty()
    process = start(project, *arguments, stdin=follower, stdout=follower, stderr=follower)
    os.close(follower)
    said = b""
    while True:
        try:
            piece = os.read(leader, 4096)
        except OSError:  # the other end is closed
            break
        if not piece:
            break
        said += piece
    os.close(leader)
    return said.decode(), process.wait()


def test_a_terminal_gets_one_bar_with_lines_above_it(founded):
    """It shows stage, number, share and time; only long stages leave a line."""
    said, status = screen(founded, "--params=eft.sampling.temperature=0.5")
    assert status == 0, said
    shown = [
        line for line in re.split(r"[\r\n]+", re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", said)) if line
    ]
    bars = [line for line in shown if re.search(r"\d% +[\d.]+ (s|min)\b", line)]
    lines = [line for line in shown if line not in bars]
    assert bars
    for bar in bars:
        assert re.match(r"(starting|ending|\d+/\d+ [\w ]*)", bar), bar
        assert len(bar) <= 80
    assert all(re.match(f"{TIME} (INFO|WARNING) ", line) for line in lines), lines
    told = [line.split(" ", 3)[3] for line in lines]
    [ended] = [line for line in told if STAGE in line]
    assert re.match(r"\d+ of \d+, .*: done in", ended)
    assert not any("selecting judgements" in line for line in told)
