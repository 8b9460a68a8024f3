"""The page of evidence: what runs left is read, set beside the paper, and judged."""

import json

import pandas as pd
import pytest
from kedro.config import OmegaConfigLoader

from evidence import criteria, page, plots, running
from evidence.experiments import EXPERIMENTS, MAIN, to_run
from evidence.figures import Figures, read
from srlm_kedro.errors import GateError

DUELS = [
    *[("m1", "sft", 30, 20, 5, 15), ("m2", "m1", 50, 20, 25, 35), ("m2", "sft", 50, 15, 30, 40)],
    *[("m3", "m2", 60, 20, 35, 45), ("m3", "sft", 75, 10, 60, 70)],
]
READS = {
    "study/rubric_right": 90.0,
    "study/rubric_right_shuffled": 70.0,
    "study/rubric_unscored": 12.5,
}
MODELS = ["sft", "m1", "m2", "m3"]


@pytest.fixture(autouse=True)
def asked(tmp_path):
    """The held-out prompt of these runs."""
    raw = tmp_path / "data/01_raw"
    raw.mkdir(parents=True)
    (raw / "eval_prompts.jsonl").write_text('{"prompt": "Name me two fruits."}\n', "utf-8")


def leave(folder, duels=DUELS, models=MODELS, **errors):
    """What a finished run leaves for the page; a list a column of `errors`."""
    report = folder / "08_reporting"
    report.mkdir(parents=True)
    (report / "report.html").touch()
    table = pd.DataFrame(duels, columns=["model", "opponent", "win", "loss", "low", "high"])
    table.assign(tie=100 - table["win"] - table["loss"], n=240).to_csv(
        report / "head_to_head.csv", index=False
    )
    shares = {"items_wrong": [0.5, 0.5, 0.4, 0.3], "greedy_score": [3.0, 3.0, 3.5, 4.0]}
    given = {name: values[: len(models)] for name, values in (shares | errors).items()}
    scores = {"mean_score": [3.0 + at / 10 for at in range(len(models))]}
    pd.DataFrame({"model": models, **given, **scores}).to_csv(report / "errors.csv", index=False)
    pd.DataFrame({"model": models, "pairwise_accuracy": 75.0, "n": 58}).to_csv(
        report / "reward_modelling.csv", index=False
    )
    table = pd.DataFrame({"model": models, "pairs": [None, None, 369, 914, 703][: len(models)]})
    table.assign(mean_length=7.0).to_csv(report / "iterations.csv", index=False)


def note(folder, model, name, metrics):
    """Figures of one model that are in no table."""
    path = folder / f"08_reporting/{model}/{name}.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(metrics), "utf-8")


def judge(folder, model, table, **right):
    """How a judge orders pairs: shares by kind of difference."""
    path = folder / f"07_model_output/{model}/{table}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [(model, kind, 100, share, 5.0, 95.0 - share) for kind, share in right.items()]
    columns = ["model", "kind", "pairs", "right", "tied", "wrong"]
    pd.DataFrame(rows, columns=columns).to_parquet(path)


@pytest.fixture
def project(tmp_path):
    """Two seeds, one of them with a control, and their judges on their own responses."""
    for seed in (5, 6):
        folder = tmp_path / f"data/seed{seed}"
        leave(folder)
        judge(folder, "m1", "own_accuracy", all=86.0, items=71.0)
        judge(folder, "m3", "own_accuracy", all=90.0, items=68.0)
        note(folder, "m3", "eval_metrics", {"eval/mean_characters": 20.0, "eval/mean_score": 9.0})
        note(folder, "m1", "rubric_metrics", READS)
    duels = [("m2", "m1", 30, 28, -1, 5), ("m3", "m2", 30, 33, -6, 0)]
    leave(tmp_path / "data/seed5/controls/shuffled_rewards", duels)
    return tmp_path


def text(project, commands=(), **stopped):
    """The page as one text."""
    return "\n".join(page.lines(read(project), {"commands": commands, "stopped": stopped}, False))


def told(figures):
    """Whether each claim is met."""
    return {one.claim: one.met for one in criteria.criteria(figures)}


def changed(figures, value, **where):
    """The same figures but for one."""
    table = figures.table.copy()
    table.loc[(table[list(where)] == pd.Series(where)).all(axis=1), "value"] = value
    return Figures(table)


def test_each_seed_stands_beside_the_mean_and_the_paper(project):
    """Win minus loss with its interval; the paper's own win minus loss."""
    shown = text(project)
    assert (
        "| M2 - M1 | +30.0 (+25.0 to +35.0) | +30.0 (+25.0 to +35.0) | **+30.0** ± 0.0 | +43.8"
        in shown
    )
    assert "| M3 - SFT | 75.0 / 15.0 / 10.0 | 62.5 / 27.7 / 9.8 |" in shown
    assert "| pairwise accuracy | 75.0 | 75.0 | 75.0 | 75.0 | 65.1 / 78.7 / 80.4 / 81.7 |" in shown


def test_a_control_stands_beside_the_main_run_of_its_seeds(project):
    """Seed 6 has no control, and does not enter the mean beside it."""
    changed_seed = project / "data/seed6/08_reporting/iterations.csv"
    changed_seed.write_text("model,pairs\nm2,9999\n", "utf-8")
    shown = text(project)
    assert "### Rewards in random order (`shuffled_rewards`)" in shown
    assert "| M3 - M2 | **+40.0** | -3.0 (-6.0 to +0.0) | **-3.0** |  |" in shown
    assert "| pairs for M2 | 369 | 369 | 369 |  |" in shown


def test_lengths_stand_beside_what_was_asked_for(project):
    """Of right answers to "Name me two fruits.", such as "With pleasure: apple, pear."."""
    tokens, asked = (read(project).mean("", f"asked {name}") for name in ("tokens", "characters"))
    shortest = ["Sure", ":", "apple", ",", "pear", ".", "the end"]
    assert len(shortest) <= tokens <= len([*shortest, "With", "pleasure"])
    assert len("Of course: pear, plum.") <= asked <= len("With pleasure: lemon, grape.")
    shown = text(project)
    assert (
        f"have {tokens:.1f} tokens. With their words drawn evenly they have {asked:.1f} characters."
        in shown
    )


def test_it_is_told_what_is_left_of_a_judge_without_its_rubric(project):
    """Two accuracies of the pairs that have scores, and how many have none."""
    shown = text(project)
    assert "M1 orders 90.0% rightly, and 70.0% when the judge prompt's words are in" in shown
    assert "random order (12.5% of the pairs then carry no score)" in shown


def test_what_was_not_run_has_no_section(tmp_path):
    """Nor a picture, nor a claim."""
    leave(tmp_path / "data/seed5")
    shown = text(tmp_path)
    for title in ("own responses", "Controls", "Beyond M3", "Stopped", "shuffled"):
        assert title not in shown
    drawn = {path.stem for path in plots.draw_all(read(tmp_path), tmp_path)}
    assert drawn == {"head_to_head", "errors"}


def test_a_run_without_a_report_is_not_finished(project):
    """Tables of a run under way are not shown."""
    (project / "data/seed6/08_reporting/report.html").unlink()
    assert read(project).seeds() == [5]


def test_a_control_takes_m1_from_the_main_run_and_has_an_m3_of_its_own(project):
    """As its models do."""
    own = project / "data/seed5/controls/shuffled_rewards"
    judge(own, "m3", "own_accuracy", all=50.0)
    figures = read(project)
    assert figures.at("shuffled_rewards", 5, "m1", "own right all") == 86.0
    assert figures.at("shuffled_rewards", 5, "m3", "own right all") == 50.0
    assert figures.at("shuffled_rewards", 5, "m3", "own right items") is None


def test_criteria_follow_the_figures(project):
    """All claims there are, and the one that the fixture breaks."""
    met = told(read(project))
    assert len(met) == 14
    assert [claim for claim, fine in met.items() if not fine] == [
        "the judge's accuracy on its own responses rises from M1 to M3, only items"
    ]


@pytest.mark.parametrize(
    ("value", "where", "claim"),
    [
        (-0.1, {"seed": 6, "model": "m2", "figure": "low vs m1"}, "M2 - M1: the 95% interval"),
        (9.0, {"model": "m2", "figure": "win_minus_loss vs m1", "experiment": MAIN}, "M2 - M1: +"),
        (
            -5.1,
            {"model": "m3", "figure": "win_minus_loss vs m2", "experiment": "shuffled_rewards"},
            "`shuffled_rewards`",
        ),
        (0.6, {"model": "m3", "figure": "items_wrong"}, "items wrong"),
        (2.0, {"model": "m3", "figure": "greedy_score"}, "greedy"),
        (60.0, {"model": "m3", "figure": "mean_length"}, "M3's responses are no longer"),
        (84.0, {"model": "m1", "figure": "own right all"}, "M1 orders its own responses right"),
        (85.1, {"model": "m1", "figure": "rubric_right_shuffled"}, "M1 reads the judge prompt"),
    ],
)
def test_a_figure_out_of_bounds_is_not_met(project, value, where, claim):
    """Each claim hangs on its own figure."""
    met = told(changed(read(project), value, **where))
    (broken,) = [name for name, fine in met.items() if name.startswith(claim) and not fine]
    assert broken


def test_beyond_m3_both_judges_are_shown(project):
    """As many models as there are; each by the seeds that went so far."""
    models = [*MODELS, "m4"]
    six = {"items_wrong": [0.5] * 5, "greedy_score": [3.0] * 5}
    for folder in ("data/seed7", "data/seed7/controls/frozen_judge"):
        leave(project / folder, [*DUELS, ("m4", "m3", 40, 45, -9, -1)], models, **six)
    shown = text(project)
    assert "| each model judges itself; seeds 7 | M1 | M2 | M3 | M4 |" in shown
    assert "| M1 judges; seeds 7 | M1 | M2 | M3 | M4 |" in shown
    assert "| win minus loss, model before | +10.0 | +30.0 | +40.0 | -5.0 |" in shown


@pytest.mark.parametrize("high", [-0.1, 0.0])
def test_beyond_m3_no_model_may_fall(project, high):
    """Worse than the one before is one whose whole interval lies below 0."""
    leave(
        project / "data/seed7",
        [*DUELS, ("m4", "m3", 40, 45, -9, high)],
        [*MODELS, "m4"],
        items_wrong=[0.4] * 5,
        greedy_score=[3.0] * 5,
    )
    (met,) = [fine for claim, fine in told(read(project)).items() if claim.startswith("M4 to M4")]
    assert met == (high >= 0)


def test_pictures_are_the_same_bytes_again(project):
    """No date, no random ids."""
    first, second = (
        {path.name: path.read_bytes() for path in plots.draw_all(read(project), project / name)}
        for name in ("a", "b")
    )
    assert first == second
    assert set(first) == {f"{name}.svg" for name in plots.PLOTS} - {"curve.svg"}


def test_one_configuration_is_run_once_and_the_longest(project):
    """The main run first: the others begin with its M1."""
    names = ["frozen_judge_six", "frozen_judge", "self_judge_six", "no_eft"]
    chosen = to_run(names)
    assert [(each.env, each.iterations) for each in chosen] == [
        (None, 6),
        ("frozen_judge", 6),
        ("no_eft", None),
    ]


def test_environments_of_all_experiments_exist():
    """An experiment is a folder of conf/, or the main run."""
    conf = page.Path(running.__file__).parents[1] / "conf"
    envs = {each.env for each in EXPERIMENTS.values() if each.env}
    assert len(envs) > 9
    assert all((conf / env).is_dir() for env in envs)


def test_what_a_gate_stops_is_noted_and_the_rest_goes_on(tmp_path, monkeypatch):
    """Until it comes to its end in a later call."""
    ran = []

    def run(folder, env, parameters):
        ran.append((env, parameters["seed"]))
        if env == "no_eft" and len(ran) < 5:
            raise GateError("m2.pairs: 0 pairs")

    monkeypatch.setattr(running, "run_project", run)
    for _ in range(2):
        folder = tmp_path / "project"
        running.run_all(folder, to_run(["no_eft", "nll"]), [5], scripted=False)
        stopped = running.notes(folder)["stopped"]
        assert stopped == ({"no_eft, seed 5": "m2.pairs: 0 pairs"} if len(ran) < 5 else {})
    assert ran == [(None, 5), ("no_eft", 5), ("nll", 5)] * 2


def test_threads_are_those_that_were_asked_for(tmp_path, monkeypatch):
    """In the project of the runs, whose configuration every engine reads."""
    monkeypatch.setattr(running, "run_project", lambda *_: None)
    folder = tmp_path / "project"
    running.run_all(folder, to_run([]), [5], scripted=False, threads=7)
    loader = OmegaConfigLoader(str(folder / "conf"), base_env="base", default_run_env="local")
    assert loader["catalog"]["training_engine"]["options"]["threads"] == 7


def test_stopped_runs_are_told(project):
    """With the gate's words."""
    assert "- no_eft, seed 5: m2.pairs: 0 pairs" in text(
        project, **{"no_eft, seed 5": "m2.pairs: 0 pairs\nmore"}
    )
