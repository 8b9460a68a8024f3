"""`kedro run` as typed."""

from click.testing import CliRunner
from kedro.framework.startup import bootstrap_project


def invoke(project, *arguments):
    bootstrap_project(project.path)
    from srlm_kedro.cli import cli

    return CliRunner().invoke(cli, ["run", "--env=test", *arguments])


def test_a_refusal_is_a_message_and_a_failure(project):
    """No traceback, exit code 1, the faults named."""
    done = invoke(project, "--params=dpoo=1,seed=x")
    assert done.exit_code == 1
    assert "Refused before any work" in done.output
    assert "`dpoo` is unknown; did you mean `dpo`?" in done.output
    assert "parameter `seed`" in done.output
    assert "Traceback" not in done.output


def test_pipeline_is_taken_for_pipelines_without_a_warning(project):
    """`--pipeline=iteration` is the spelling people know."""
    done = invoke(project, "--pipeline=iteration", "--params=iteration=7")
    assert done.exit_code == 1
    assert "M7 is made from M6" in done.output
    assert "deprecated" not in done.output
