"""lm-eval is given a thinking model's answers, and scores choices where an answer begins."""

import json

import pytest

from tests.engines.models import TEMPLATE
from tests.engines.thinking import write_reciter

pytest.importorskip("lm_eval")

from srlm_kedro.engines.published.lm_eval import LmEvalEngine

SAYS = ["<assistant>", "<think>", "Two", "facts.", "</think>", "Because.", "Really.", "</s>"]
OPENED = TEMPLATE.replace("<assistant>{% endif %}", "<assistant> <think>{% endif %}")
SHARED = """
dataset_path: json
dataset_kwargs: {{data_files: {{test: {data}}}}}
test_split: test
doc_to_text: "{{{{question}}}}"
"""
FREE = """
task: said
output_type: generate_until
doc_to_target: "Because."
generation_kwargs: {{until: ["facts.", " Really"], do_sample: false, max_gen_toks: {tokens}}}
metric_list: [{{metric: exact_match, aggregation: mean, higher_is_better: true}}]
"""
CHOICE = """
task: chosen
output_type: multiple_choice
doc_to_choice: ["Two", "Because."]
doc_to_target: 1
metric_list: [{{metric: acc}}]
"""


@pytest.fixture
def figures(tmp_path):
    """What the tasks say of a model that recites its script behind a template."""

    def run(script, template, task, chat=True, tokens=9):
        model = write_reciter(tmp_path / "model", script, template)
        folder = tmp_path / "tasks"
        folder.mkdir()
        data = folder / "items.jsonl"
        data.write_text(json.dumps({"question": "Why?"}) + "\n", "utf-8")
        for name, text in {"said": FREE, "chosen": CHOICE}.items():
            filled = (SHARED + text).format(data=data, tokens=tokens)
            (folder / f"{name}.yaml").write_text(filled, "utf-8")
        engine = LmEvalEngine(device="cpu", batch_size=1, task_folder=str(folder), chat=chat)
        return engine.run(model, [task], None, 0)[task]

    return run


@pytest.mark.parametrize(("script", "template"), [(SAYS, TEMPLATE), (SAYS[1:], OPENED)])
def test_the_answer_is_compared(figures, script, template):
    """Stop strings within the thought end nothing; the answer ends before its own."""
    knows = template + "{# <think> #}"
    assert figures(script, knows, "said")["exact_match"] == 1


def test_a_cut_thought_is_no_answer(figures):
    """Not even where it holds the right words."""
    script = ["<think>", "Because.", "</think>", "Two", "</s>"]
    assert figures(script, OPENED, "said", tokens=1)["exact_match"] == 0


def test_choices_are_scored_as_answers(figures):
    """Behind the closed thought, where the model says `Because.`, not within it."""
    assert figures(SAYS[1:], OPENED, "chosen")["acc"] == 1
