"""`kedro run` from the command line."""

import pandas as pd
import pytest
from click.testing import CliRunner
from kedro.framework.startup import bootstrap_project

from tests.integration.conftest import ROOT


def invoke(project, *arguments):
    bootstrap_project(project.path)
    from srlm_kedro.cli import cli

    return CliRunner().invoke(cli, ["run", "--env=test", *arguments])


def test_a_refusal_is_a_message_and_a_failure(project):
    """No traceback; exit status 1; the faults are named."""
    done = invoke(project, "--params=dpoo=1,seed=x")
    assert done.exit_code == 1
    assert "Refused before any work" in done.output
    assert "`dpoo` is unknown; did you mean `dpo`?" in done.output
    assert "parameter `seed`" in done.output
    assert "Traceback" not in done.output


def test_pipeline_is_taken_for_pipelines_without_a_warning(project):
    """People write `--pipeline=iteration`."""
    done = invoke(project, "--pipeline=iteration", "--params=iteration=7")
    assert done.exit_code == 1
    assert "M7 is made from M6" in done.output
    assert "deprecated" not in done.output


def refusal(project, *arguments):
    """The message of a run that must not start; there is no traceback, and nothing was made."""
    done = invoke(project, *arguments)
    assert done.exit_code == 1
    assert isinstance(done.exception, SystemExit)
    assert done.output.startswith("Error: ")
    assert not any((project.path / "data/06_models").glob("*"))
    return done.output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--tags=foo"], "`--tags`: there is no tag `foo`; this run's pipelines have none"),
        (["--nodes=m2.train_dp"], "no node `m2.train_dp`; did you mean `m2.train_dpo`?"),
        (["--from-nodes=m2.gat"], "`--from-nodes`: there is no node `m2.gat`; did you mean"),
        (["--to-nodes=x"], "`--to-nodes`: there is no node `x`. `kedro run --pipeline=status`"),
        (["--from-inputs=ift_sed"], "no input `ift_sed`; did you mean `ift_seed`?"),
        (["--to-outputs=reprot"], "no output `reprot`; did you mean `report`?"),
        (["--namespaces=m9"], "`--namespaces`: there is no namespace `m9`"),
        (["--load-versions=foo:1"], "`--load-versions`: the catalog has no dataset `foo`"),
        (["--pipeline=iteratoin"], "pipeline `iteratoin` is unknown; did you mean `iteration`?"),
        (["--nodes=m2.gate", "--from-nodes=m3.gate"], "matches all of them together"),
        (["--runner=Foo"], "`--runner`: there is no runner `Foo`"),
        (["--params=data="], "parameter `data`: Input should be a valid string, found None"),
        (["--params=data=2024"], "found 2024; put a name that reads as a number in quotes"),
        (["--pipeline=status", "--params=data="], "parameter `data`"),
        (["--params=loop.seed_data=oasst"], "parameter `oasst`: this run reads it"),
        (["--params=loop.seed_data=oasst"], "oasst_messages: this run reads it"),
        (["--params=loop.judge=external"], "Put the model there, or name another"),
        (["--params=loop.prompt_generator=fixed"], "Put the model there, or name another"),
        (["--params=dpo.beta=-1"], "parameter `dpo.beta`: Input should be greater than 0"),
        (["--params=dpo.beta=nan"], "parameter `dpo.beta`: Input should be a finite number"),
        (["--params=dpo.learning_rate=1e-9"], "min_learning_rate = 4e-06 is above learning_rate"),
        (["--params=dpo.batch_size=12"], "batch_size = 12 is no multiple of micro_batch_size = 8"),
        (["--params=responses.sampling.temperature=0"], "draws one and the same completion n = 4"),
        (["--params=pairs.min_pairs=13"], "13 pairs are required of `prompts.count` = 12 prompts"),
        (["--params=eft.eval_prompts=9999"], "none is left to learn from"),
        (["--params=eft.eval_fraction=0.5"], "eval_prompts = null lets the fraction count"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_work_is_a_message_before_any_work(project, arguments, said):
    """For nodes, folders and numbers: what was found, and what to do."""
    assert said in refusal(project, *arguments)


def test_an_unknown_environment_is_told_with_the_one_that_was_meant(project):
    """A typing error needs no list."""
    bootstrap_project(project.path)
    from srlm_kedro.cli import cli

    done = CliRunner().invoke(cli, ["run", "--env=shufled_rewards"])
    assert done.exit_code == 1
    assert "no environment 'shufled_rewards'; did you mean `shuffled_rewards`?" in done.output


def test_all_faults_of_one_group_are_told_at_once(project):
    """Contradictions between numbers are checked only when each number is valid."""
    said = refusal(project, "--params=dpo.beta=0,dpo.epochs=inf,dpo.batch_size=-2,sft.dropout=2")
    for name in ("dpo.beta", "dpo.epochs", "dpo.batch_size", "sft.dropout"):
        assert f"`{name}`" in said
    assert "default" not in said  # nothing about a value that was not given


@pytest.mark.parametrize("params", ["loop.iterations=1", "loop.study=false", "loop.eft=ranking"])
def test_another_loop_is_not_refused_for_parameters_that_it_leaves_out(project, params):
    """They are in the files of conf/, and the user did not set them for this run."""
    done = invoke(project, "--pipeline=status", f"--params={params}")
    assert done.exit_code == 0, done.output
    assert "A run makes the" in done.output


def test_too_few_seed_rows_are_told_before_any_work(project):
    """The first new prompts, hours later, need eight demonstrations from IFT."""
    file = project.path / "data/01_raw/ift.jsonl"
    file.write_text("".join(file.read_text("utf-8").splitlines(keepends=True)[:5]), "utf-8")
    said = refusal(project)
    assert "IFT has 5 prompts, and a few-shot prompt needs 8 demonstrations" in said
    assert "`prompts.ift_demonstrations` = 6" in said
    done = invoke(project, "--pipeline=status", "--params=prompts.ift_demonstrations=3")
    assert done.exit_code == 0, done.output
    done = invoke(project, "--pipeline=status", "--params=loop.iterations=1")
    assert done.exit_code == 0, done.output


def test_prompts_and_limits_that_cannot_be_used_are_told_before_any_work(project):
    """One message names all with their files, even those that only Great Expectations finds."""
    conf = project.path / "conf/base"
    (conf / "prompts/few_shot.txt").write_text("No place for tasks.", "utf-8")
    (conf / "prompts/judge.txt").write_text("{instruction} and {response}", "utf-8")
    pairs = conf / "expectations/pairs.yml"
    shipped = pairs.read_text("utf-8")
    pairs.write_text(shipped.replace("min_value: 0.02", "min_value: .nan"), "utf-8")
    said = refusal(project)
    assert f"{conf}/prompts/few_shot.txt: few-shot prompt: it cannot be filled" in said
    assert f"{conf}/prompts/judge.txt: judge prompt: " in said
    assert "it never asks for a `Score:`" in said
    assert "pairs.yml: not an expectation suite" in said
    assert "min_value = nan is no limit" in said

    for name in ("prompts/few_shot.txt", "prompts/judge.txt"):
        (conf / name).write_text((ROOT / "conf/base" / name).read_text("utf-8"), "utf-8")
    wrong = shipped.replace("expect_compound_columns_to_be_unique", "expect_everything")
    pairs.write_text(wrong, "utf-8")
    said = refusal(project)
    assert "not what Great Expectations knows" in said
    assert "expect_everything" in said


def test_a_file_that_the_user_brings_is_told_apart_from_one_that_a_run_makes(project):
    """The message names no pipeline that does not make the file."""
    (project.path / "data/01_raw/ift.jsonl").unlink()
    assert "Make it first (kedro run --pipeline=seed_data)" in refusal(project)
    said = refusal(project, "--pipeline=mt_bench")
    assert "mt_bench_questions: " in said
    assert "Put the file there, or name another in its entry in the catalog" in said
    said = refusal(project, "--from-nodes=m1.train_m1")
    assert "Make it first (kedro run --pipeline=foundation)" in said


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("--pipeline=evaluation", "Make M1 first (kedro run --env=test --pipeline=foundation {})"),
        ("--pipeline=benchmarks", "Make M1 first (kedro run --env=test --pipeline=foundation {})"),
        ("--to-nodes=x", "`kedro run --env=test --pipeline=status {}` lists the nodes"),
        ("--from-nodes=m1.train_m1", "it first (kedro run --env=test --pipeline=foundation {})"),
    ],
)
def test_a_remedy_has_the_environment_and_the_parameters_of_the_command(
    project, monkeypatch, asked, said
):
    """Who copies it runs the same experiment in the same folder."""
    given = "--params=data=data/other,dpo.beta=2"
    monkeypatch.setattr("sys.argv", ["/bin/kedro", "run", "--env=test", asked, given])
    assert said.format(given) in refusal(project, asked, given)


def test_a_remedy_of_a_process_is_the_command_that_was_typed_with_another_pipeline(project):
    """Kedro changes its name as it starts, and the environment is kept all the same."""
    (project.path / "data/01_raw/ift.jsonl").unlink()
    process = project.start("--params=data=data/other")
    told = process.communicate(timeout=120)
    assert process.returncode == 1
    remedy = "(python -m kedro run --env=test --pipeline=seed_data --params=data=data/other)"
    assert remedy in "".join(told)


def test_what_must_be_made_before_a_model_is_tried_is_told_in_full(project, monkeypatch):
    """Without the parameters of the trial."""
    given = "--params=readiness.model=m2,dpo.beta=2"
    monkeypatch.setattr("sys.argv", ["kedro", "run", "-e", "test", given])
    said = refusal(project, "--pipeline=readiness", given)
    assert "m2 is not there; there is only m0. Try that, or make M2 first (kedro run " in said
    assert "--env=test --pipeline=iteration --params=dpo.beta=2,iteration=2)" in said


def test_a_catalog_that_cannot_be_read_is_a_message(project):
    """A file that is not YAML is a message too."""
    project.configure("catalog", report={"type": "text.TextDataste", "filepath": "x"})
    said = refusal(project)
    assert "report" in said  # from us, or from Kedro if a plugin reads the catalog first
    assert "No module named 'text'" in said
    (project.path / "conf/test/parameters.yml").write_text("loop: {iterations: 3", "utf-8")
    assert "conf/test/parameters.yml" in refusal(project)


def test_seed_data_of_ones_own_is_told_as_it_was_read(project, caplog):
    """The log says how many rows were read, from which file and in which format: a foreign CSV."""
    path = project.path / "data/01_raw/own.csv"
    rows = pd.read_json(project.path / "data/01_raw/ift.jsonl", lines=True)
    rows.assign(note="x").to_csv(path, index=False, sep=";")
    record = {"record": "srlm_kedro.pipelines.ift.IftRow", "ignore": ["note"]}
    entry = {"type": "srlm_kedro.datasets.seed.SeedDataset", "filepath": str(path), **record}
    project.configure("catalog", ift_seed=entry)
    with caplog.at_level("INFO", "srlm_kedro"):
        project.run("status")
    told = f"{len(rows)} rows from {path} (CSV with a semicolon between the columns)"
    assert f"ift_seed: {told}" in caplog.messages
    assert any(line.startswith("eft_seed: ") for line in caplog.messages)


@pytest.mark.parametrize(("iterations", "named"), [(1, "SFT, M1"), (2, "M1, M2")])
def test_the_closing_lines_name_the_models_of_this_loop(founded, capsys, iterations, named):
    """If M1 is the only model, it is compared with the baseline."""
    founded.run(params={"loop": {"iterations": iterations}})
    assert f"(choose the runs {named} and press Compare)" in capsys.readouterr().out


def test_a_broken_file_of_the_configuration_is_a_message(project):
    """It names the line, in `kedro run` and `kedro mlflow ui`."""
    (project.path / "conf/test/parameters_own.yml").write_text("a: 1\nb: [1\n", "utf-8")
    said = refusal(project, "--pipeline=status")
    assert "conf/test/parameters_own.yml, line 3: is not YAML" in said
