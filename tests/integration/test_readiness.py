"""`kedro run --pipeline=readiness`: whether the loop can work, told before it is paid for."""

import pandas as pd


def verdicts(project, folder="data"):
    table = pd.read_csv(project.path / folder / "08_reporting/readiness/table.csv")
    return table.set_index("question")


def test_m0_is_tried_on_a_fresh_clone(project, capsys):
    """It is made if the project makes it; nothing is trained or recorded, and the page is shown."""
    project.run("readiness")
    told = verdicts(project)
    assert {"accuracy in words", "accuracy by criteria", "pairs", "new prompts"} <= set(told.index)
    shown = capsys.readouterr().out
    assert "Readiness of M0 for this loop" in shown
    assert (project.path / "data/08_reporting/readiness/summary.txt").read_text("utf-8") in shown
    assert not (project.path / "data/06_models/sft").exists()
