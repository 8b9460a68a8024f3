"""The picture of the result shows the figures of the evidence."""

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
