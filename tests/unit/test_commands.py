"""Commands that messages name have the environment and the parameters of the one that was typed."""

import pytest

from srlm_kedro.display.commands import run_command, this_command


def typed(monkeypatch, *words):
    monkeypatch.setattr("sys.argv", list(words))


@pytest.mark.parametrize(
    ("words", "options"),
    [
        (["run"], ""),
        (["run", "--env=smollm", "--pipeline=status"], " --env=smollm"),
        (["run", "--env", "smollm", "-p", "status"], " --env=smollm"),
        (["run", "-e", "smollm"], " --env=smollm"),
        (["run", "-esmollm"], " --env=smollm"),
        (["push", "--model=m2", "--env=smollm"], " --env=smollm"),
        (["run", "--conf-source=my conf"], " '--conf-source=my conf'"),
        (["run", "--env=a", "--env=b"], " --env=b"),
    ],
)
def test_the_environment_is_kept_however_it_was_typed(monkeypatch, words, options):
    """And nothing else that says which nodes run."""
    typed(monkeypatch, "/usr/bin/kedro", *words)
    assert run_command() == f"kedro run{options}"
    assert run_command("foundation") == f"kedro run{options} --pipeline=foundation"


@pytest.mark.parametrize("form", [["--params=data=x,iteration=3"], ["--params", "data=x"]])
def test_parameters_are_kept_unless_only_the_typed_pipeline_reads_them(monkeypatch, form):
    """`iteration` is refused where no iteration is made."""
    typed(monkeypatch, "kedro", "run", *form)
    assert run_command("foundation") == "kedro run --pipeline=foundation --params=data=x"
    assert run_command("iteration", {"iteration": "2"}) == (
        "kedro run --pipeline=iteration --params=data=x,iteration=2"
    )


def test_a_new_value_replaces_the_typed_one(monkeypatch):
    """`readiness.model` as asked, the rest as typed."""
    typed(monkeypatch, "kedro", "run", "--params=readiness.model=m0,readiness.prompts=4")
    assert run_command("readiness", {"readiness.model": "m1"}) == (
        "kedro run --pipeline=readiness --params=readiness.model=m1,readiness.prompts=4"
    )


@pytest.mark.parametrize(
    ("script", "program"),
    [
        ("/lib/kedro/__main__.py", "kedro run"),
        ("python -m kedro", "python -m kedro run"),  # as kedro itself sets it
        ("/lib/srlm_kedro/__main__.py", "python -m srlm_kedro"),
    ],
)
def test_a_module_is_named_as_it_was_called(monkeypatch, script, program):
    """The installed package has no `run`."""
    typed(monkeypatch, script, "--env=smollm")
    assert run_command() == f"{program} --env=smollm"


def test_options_of_another_program_are_not_ours(monkeypatch):
    """A notebook, or a test."""
    typed(monkeypatch, "/bin/pytest", "--env=smollm", "-e", "x")
    assert run_command("seed_data") == "kedro run --pipeline=seed_data"
    assert this_command() == "pytest --env=smollm -e x"
