"""The version of the judge's prompt, which tells runs apart."""

import pytest
from kedro.io import DataCatalog
from kedro.pipeline import Node

from srlm_kedro.tracking.model_runs import _parameters


@pytest.fixture
def version(tmp_path):
    """The logged version of a prompt by criteria, from its template and its catalog entry."""

    def logged(template: str, **asked) -> str:
        file = tmp_path / "criterion.txt"
        file.write_text(template, "utf-8")
        kind = "srlm_kedro.datasets.criteria_prompt.CriteriaPromptDataset"
        entry = {"type": kind, "filepath": str(file), **asked}
        catalog = DataCatalog.from_config({"criteria_prompt": entry})
        judge = Node(lambda prompt: prompt, "criteria_prompt", "judgements", name="judge")
        return _parameters([judge], catalog)["criteria_prompt"]

    return logged


def test_criteria_belong_to_the_version_of_their_prompt(version):
    """The same template with another question, or another wanted answer, is another prompt."""
    template = "{response} {criterion}"
    rubric = "srlm_kedro.verifiable.rubric.InstructionRubric"
    found = [
        version(template, criteria=["Is it so?"]),
        version(template, criteria=["Is it not?"]),
        version(template, criteria=[{"ask": "Is it so?", "wanted": False}]),
        version(f"{template}\n", criteria=["Is it so?"]),
        version(template, rubric=rubric),
    ]
    assert len(set(found)) == len(found)
    assert version(template, criteria=["Is it so?"]) == found[0]
    assert version(template, rubric=rubric) == found[-1]
