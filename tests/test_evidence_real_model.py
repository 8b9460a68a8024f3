"""The page of the real model's evidence is made of what the runs left."""

import json

import pandas as pd
import pytest

from benchmarks import project
from evidence import real_model
from evidence.real_model_page import COLUMNS
from srlm_kedro.freshness.manifest import write_manifest
from srlm_kedro.running.stopping import Terminated


@pytest.fixture
def runs(tmp_path):
    """One seed with a control that is finished up to M2."""

    def write(place, model, kind, figures):
        folder = tmp_path / "data" / place / "08_reporting" / model
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{kind}_metrics.json").write_text(json.dumps(figures))

    def gain(value):
        return {"gain/vs_m1": value, "gain/vs_m1_low": value - 0.1, "gain/vs_m1_high": value + 0.1}

    met = {"met/all/all": 0.4, "met/all/include": 0.75, "met/every_constraint": 0.2}
    write("seed3", "m1", "constraint", met)
    write("seed3", "m2", "constraint", met | {"met/all/all": 0.5, "met/all/include": 0.5})
    write("seed3", "m2", "gain", gain(0.1))
    write("seed3", "m2", "pair", {"pairs/count": 80.0})
    write("seed3", "m2", "study", {"study/judge_right": 71.25, "study/own_right": 80.0})
    write("seed3", "m2", "own", {"study/own_pairs": 20.0})
    write("seed3", "m2", "benchmark", {"benchmarks/ifeval/prompt_level_strict_acc": 0.125})
    write("seed3/controls/shuffled_rewards", "m2", "gain", gain(0.01))
    write("seed3/controls/checked", "m2", "gain", gain(0.16))
    manifest = {"node": "m2.train_m2", "seconds": 120.0}
    place = tmp_path / "data/seed3/07_model_output/m2"
    place.mkdir(parents=True)
    for name in ("log.json", "other.json", "benchmark_results.json"):
        made = manifest | ({"node": "m2.run_benchmarks"} if "benchmark" in name else {})
        (place / name).write_text("{}")
        write_manifest(place / name, made)
    (tmp_path / "data/seed3/peak_gib.json").write_text("6.5")
    return tmp_path


def test_the_page(runs, tmp_path, capsys):
    """Gains with intervals beside the control's, shares by kind, and what is missing as a dash."""
    out = tmp_path / "out"
    real_model.main(["--page-only", "--folder", str(runs), "--out", str(out)])
    page = (out / "smollm.md").read_text("utf-8")
    assert "| 3 | M2 and M3 by its own judge | +0.100 (+0.000 to +0.200) | - | - | 80 |" in page
    assert "| 3 | the same pairs in random order | +0.010 (-0.090 to +0.110) | - | - | - |" in page
    assert (
        "| rewarded by the programs: the ceiling | +0.160 (+0.060 to +0.260) | - | - | - |" in page
    )
    assert "| M2 gains on M1, clear of zero | 0 of 1 seeds |" in page
    assert "random order: the interval holds zero | 1 of 1 seeds |" in page
    assert "true rewards give; beyond random order | 62% (1 seed); 60% (1 seed) |" in page
    assert "| M3 gains on M1, clear of zero | not run |" in page
    assert "| peak below 8 GiB | 1 of 1 seeds |" in page
    assert "| include | - | - | 0.750 | 0.500 | - |" in page
    assert "| 3 | M2 | - | 80.0% of 20 | 71.2% | - |" in page
    assert "| 3 | M2 | 12.5 | - | - | - |" in page
    assert "| 3 | M2 and M3 by its own judge | 2 | 6.5 |" in page
    figures = (out / "smollm.csv").read_text("utf-8").splitlines()
    assert "main,3,m2,met/all/all,0.5" in figures
    assert "shuffled_rewards,3,m2,gain/vs_m1,0.01" in figures


def test_the_judge_against_random_order(runs, tmp_path):
    """The same prompts' responses are compared, and kinds are shown beside each other."""
    for place, text in (("seed3", "Blue sky."), ("seed3/controls/shuffled_rewards", "Grey sky.")):
        folder = runs / "data" / place / "07_model_output/m2"
        folder.mkdir(parents=True, exist_ok=True)
        rows = [
            ("m2", f"p{number}", 'Describe the sky. Include the word "blue".', "include", "sampled")
            for number in range(4)
        ]
        columns = ["model", "prompt_id", "prompt", "kind", "mode"]
        responses = pd.DataFrame(rows, columns=columns).assign(response=text)
        responses.to_parquet(folder / "eval_responses.parquet")
    control = runs / "data/seed3/controls/shuffled_rewards/08_reporting/m2/constraint_metrics.json"
    control.write_text(json.dumps({"met/all/include": 0.25}))
    page = real_model.lines(real_model.read(runs))
    assert "| 3 | +1.000 (+1.000 to +1.000) | - |" in page
    assert "| M2 gains on M2 of random order, clear of zero | 1 of 1 seeds |" in page
    assert "| include | 0.750 | 0.500 | 0.250 | - | - |" in page


def test_figures_of_runs_elsewhere_are_kept(runs, tmp_path):
    """A run that is in the folder replaces its earlier figures, and the others stay as they are."""
    out = tmp_path / "out"
    out.mkdir()
    (out / "smollm.csv").write_text(
        "experiment,seed,model,figure,value\n"
        "main,3,m1,met/all/all,0.9\n"
        "checked,5,m2,gain/vs_m1,0.5\n"
        "shuffled_rewards,4,m2,gain/vs_m1,0.25\n"
        "main,4,m1,met/all/all,0.125\n"
    )
    real_model.main(["--page-only", "--folder", str(runs), "--out", str(out)])
    figures = (out / "smollm.csv").read_text("utf-8").splitlines()
    assert "main,3,m1,met/all/all,0.4" in figures
    assert "main,3,m1,met/all/all,0.9" not in figures
    assert figures[-3:] == [
        "main,4,m1,met/all/all,0.125",
        "shuffled_rewards,4,m2,gain/vs_m1,0.25",
        "checked,5,m2,gain/vs_m1,0.5",
    ]
    assert "Seeds: 3, 4, 5." in (out / "smollm.md").read_text("utf-8")
    assert not [row for row in figures if row.startswith("checked,3,m1")]


def test_a_run_that_has_begun_does_not_replace_one_that_is_finished():
    """Before M2 it has nothing that was asked for."""

    def row(model, value):
        return pd.DataFrame([("main", 3, model, "met/all/all", value)], columns=COLUMNS)

    finished, begun = pd.concat([row("m1", 0.5), row("m2", 0.6)]), row("m1", 0.4)
    assert list(real_model.joined(begun, finished)["value"]) == [0.5, 0.6]
    assert list(real_model.joined(finished, begun)["value"]) == [0.5, 0.6]


def test_without_runs_there_is_a_page_without_figures(tmp_path):
    """Nothing is finished, and the page says so."""
    assert "Seeds: none is finished." in real_model.lines(real_model.read(tmp_path))


def test_controls_may_end_at_m2(tmp_path, monkeypatch):
    """The main run keeps its iterations."""
    given = {}
    monkeypatch.setattr(project, "open_project", lambda folder: None)
    monkeypatch.setattr(project, "run_project", lambda _, env, values: given.update({env: values}))
    (tmp_path / "data/seed2").mkdir(parents=True)
    real_model.run_all(tmp_path, [2], ["checked"], None, control_iterations=2)
    assert "loop" not in given["smollm"]
    assert given["smollm+checked"]["loop"] == {"iterations": 2}


def test_a_control_begins_with_what_m1_drew(tmp_path, monkeypatch):
    """No figure is copied, and a control that has begun keeps what it has."""
    monkeypatch.setattr(project, "open_project", lambda folder: None)
    monkeypatch.setattr(project, "run_project", lambda *_: None)
    drawn, metrics = (
        tmp_path / "data/seed2" / layer for layer in ("07_model_output", "08_reporting")
    )
    for file in (drawn / "m2/responses.parquet", metrics / "m2/gain_metrics.json"):
        file.parent.mkdir(parents=True)
        file.write_text("first")
    control = tmp_path / "data/seed2/controls/checked"
    for text in ("first", "second"):
        (drawn / "m2/responses.parquet").write_text(text)
        real_model.run_all(tmp_path, [2], ["checked"], None)
        (copied,) = [file for file in control.rglob("*") if file.is_file()]
        assert copied == control / "07_model_output/m2/responses.parquet"
        assert copied.read_text() == "first"


@pytest.mark.parametrize(("stop", "status"), [(KeyboardInterrupt, 130), (Terminated, 143)])
def test_a_stop_is_told_without_a_traceback(tmp_path, monkeypatch, capsys, stop, status):
    """The shell learns of the signal, the user that nothing is lost."""

    def run(*_):
        raise stop

    monkeypatch.setattr(project, "open_project", lambda folder: None)
    monkeypatch.setattr(project, "run_project", run)
    with pytest.raises(SystemExit) as ended:
        real_model.run_all(tmp_path, [2], [], None)
    assert ended.value.code == status
    assert "the same command goes on" in capsys.readouterr().out
