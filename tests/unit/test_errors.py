"""How many faults a message shows, and how to see the rest."""

import pytest

from srlm_kedro.errors import FAULTS_VARIABLE, GateError, InputError, summary

FAULTS = [f"fault {number}" for number in range(1, 2001)]


@pytest.fixture(autouse=True)
def unset(monkeypatch):
    monkeypatch.delenv(FAULTS_VARIABLE, raising=False)


def test_five_are_shown_with_the_number_of_all_and_how_to_see_the_rest():
    """The message says how to see the rest."""
    lines = summary("Faulty.", FAULTS[:7]).splitlines()
    assert lines[1:6] == [f"  - {fault}" for fault in FAULTS[:5]]
    assert lines[6] == "  ... and 2 more (SRLM_FAULTS=all before the same command shows all 7)"
    assert len(summary("Faulty.", FAULTS[:5]).splitlines()) == 6


@pytest.mark.parametrize(("asked", "shown"), [("all", 2000), ("ALL ", 2000), ("12", 12), ("x", 5)])
@pytest.mark.parametrize("kind", [InputError, GateError])
def test_as_many_are_shown_as_are_asked_for(monkeypatch, kind, asked, shown):
    """The message may get long."""
    monkeypatch.setenv(FAULTS_VARIABLE, asked)
    said = str(kind(summary("Faulty.", FAULTS)))
    assert said.count("  - fault") == shown
    assert ("more (" in said) == (shown < 2000)
