"""How MLflow shows texts of a model."""

import io
from xml.etree import ElementTree

import pandas as pd
import pytest

from srlm_kedro.tracking.artifacts import bar_chart, log_sample
from srlm_kedro.tracking.flat_parameters import flat_parameters
from tests.hostile import HOSTILE, SOUND, is_harmless


class Client:
    """A client that keeps the text of a table."""

    def log_text(self, run, text, artifact_file):
        self.table = pd.read_json(io.StringIO(text), orient="split", dtype=False)

    def set_tag(self, run, key, value):
        pass


@pytest.mark.parametrize("text", SOUND.values(), ids=SOUND)
def test_a_sample_of_responses_is_text_to_read(text):
    """Escaped and cut, each beside its response; a response without a judgement has none."""
    judged = pd.DataFrame(
        {"prompt": text, "response": text, "reward": 1.0, "response_id": ["a", "b"]}
    )
    client = Client()
    log_sample(client, "run", judged, pd.DataFrame({"response_id": ["a"], "text": [text]}))
    shown = client.table[["prompt", "response", "judgement"]]
    cells = [cell for cell in shown.stack() if isinstance(cell, str)]
    assert len(cells) == 5
    assert all(is_harmless(cell) and len(cell) < 5000 for cell in cells)
    assert pd.isna(shown["judgement"][1])


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_a_figure_is_sound_xml_of_its_own_elements(text):
    """Titles and names may hold any character."""
    root = ElementTree.fromstring(bar_chart({text: 2, "b": 1}, text, text))
    assert {part.tag.rpartition("}")[2] for part in root.iter()} == {"svg", "rect", "text"}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_a_parameter_is_a_short_calm_text(text):
    """Values that users give are escaped."""
    shown = flat_parameters({"group": {"name": text}})["group.name"]
    assert is_harmless(shown)
    assert len(shown) <= 4000
