"""The picture of the result shows the figures of the evidence."""

import re
import xml.etree.ElementTree as ET

import pandas as pd
import pytest

from evidence import result
from evidence.figures import Figures
from tests.unit.docs.pages import DOCS


@pytest.fixture
def table():
    return pd.read_csv(DOCS / "evidence/figures.csv")


def texts(drawn):
    """All that is written in the picture."""
    return [one.text for one in ET.fromstring(drawn).iter("{http://www.w3.org/2000/svg}text")]


def test_the_committed_picture_is_up_to_date(table):
    """`python -m evidence.result` draws it anew."""
    assert result.picture(Figures(table)) == (DOCS / "result.svg").read_text("utf-8")


def test_it_tells_the_means_and_the_papers_values(table):
    """Of M1, M2 and M3 against the baseline."""
    told = "".join(texts(result.picture(Figures(table))))
    means = table[(table.figure == "win_minus_loss vs sft") & (table.experiment == "main")]
    for model, mean in means.groupby("model")["value"].mean().items():
        assert f"{model.upper()} {mean:+.1f}" in told
    assert "M3 +52.7" in told


def test_other_figures_give_another_picture(table):
    """A mark moves with its value."""
    changed = table.assign(value=table["value"] / 2)
    assert result.picture(Figures(changed)) != result.picture(Figures(table))


def test_without_a_model_nothing_is_drawn(table, tmp_path):
    """An older picture goes, for it would show other figures."""
    (tmp_path / "result.svg").write_text("old")
    result.draw(Figures(table[table["model"] != "m3"]), tmp_path)
    assert not (tmp_path / "result.svg").exists()


ROWS = re.findall(
    r"^\| \**(shuffled rewards: )?(M\d) - (SFT|M\d)\** \| (\S+) \| (\S+) .*? \| (\S+) ",
    (DOCS / "explanation/results.md").read_text("utf-8"),
    re.MULTILINE,
)


def test_there_are_rows():
    """The page of results has the main run and its control."""
    assert len(ROWS) == 7


@pytest.mark.parametrize(("control", "model", "other", "mean", "low", "high"), ROWS)
def test_the_page_of_results_tells_the_figures(table, control, model, other, mean, low, high):
    """Mean, lowest and highest seed of each comparison."""
    values = Figures(table).by_seed(
        model.lower(),
        f"win_minus_loss vs {other.lower()}",
        "shuffled_rewards" if control else "main",
    )
    found = [sum(values.values()) / len(values), min(values.values()), max(values.values())]
    assert [f"{value:+.1f}" for value in found] == [mean, low, high]
