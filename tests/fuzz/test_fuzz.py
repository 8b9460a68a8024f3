"""The fuzzer's targets hold for their seeds, and a fault in one is found and kept."""

import random

import pytest

from tests.fuzz.fuzz import main, mutate
from tests.fuzz.targets import SEEDS, TARGETS


@pytest.mark.parametrize("name", TARGETS)
def test_seeds_and_a_few_mutations_pass(name, tmp_path, monkeypatch, capsys):
    """Each target has seeds, and runs without the guiding package."""
    monkeypatch.chdir(tmp_path)
    for seed in SEEDS[name]:
        TARGETS[name](seed)
    assert main([name, "0.05", "--plain"]) == 0
    assert "no crash" in capsys.readouterr().out


def test_a_crash_is_written_and_told(tmp_path, monkeypatch, capsys):
    """The bytes that made it, and an exit status."""
    monkeypatch.chdir(tmp_path)

    def refuse_long(data):
        assert len(data) < 3

    assert mutate("x", refuse_long, [b"a", b"bcd"], 60, random.Random(0)) == 1
    (kept,) = tmp_path.glob("crash-x-*")
    assert len(kept.read_bytes()) >= 3
    assert "crash after" in capsys.readouterr().out
