"""Benchmarks by the real lm-eval, on a tiny model and local tasks, without a network."""

import json
import logging
import sys

import pandas as pd
import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer

from srlm_kedro.engines.published.lm_eval import LmEvalEngine
from srlm_kedro.errors import GateError, InputError
from srlm_kedro.pipelines.published.lm_eval import (
    AlignmentParams,
    BenchmarksParams,
    compare_with_m1,
    guard_alignment,
    run_benchmarks,
)
from srlm_kedro.records import Checkpoint
from tests.engines.models import write_qwen2

pytest.importorskip("lm_eval")

ITEMS = [
    {
        "question": "Name a tree that grows near a river.",
        "choices": ["the oak", "Paris"],
        "gold": 0,
    },
    {
        "question": "What is the capital of France?",
        "choices": ["the sea", "It is Paris"],
        "gold": 1,
    },
    {
        "question": "Where does the elm grow?",
        "choices": ["in spring", "near a river", "5"],
        "gold": 1,
    },
    {"question": "How is the sea?", "choices": ["wide and blue", "Score: 5", "a city"], "gold": 0},
    {"question": "Who reviews a response?", "choices": ["the user", "the pine"], "gold": 1},
]
SHARED = """
dataset_path: json
dataset_kwargs: {{data_files: {{test: {data}, train: {data}}}}}
test_split: test
training_split: train
doc_to_text: "Question: {{{{question}}}}\\nAnswer:"
"""
CHOICE = """
task: trees
output_type: multiple_choice
doc_to_choice: "{{{{choices}}}}"
doc_to_target: gold
metric_list: [{{metric: acc}}, {{metric: acc_norm}}]
"""
FREE = """
task: said
output_type: generate_until
doc_to_target: "{{{{answer}}}}"
generation_kwargs: {{until: ["\\n"], do_sample: false, max_gen_toks: 6}}
metric_list: [{{metric: exact_match, aggregation: mean, higher_is_better: true}}]
filter_list:
  - {{name: whole, filter: [{{function: take_first}}]}}
"""
FAR = """
task: far
dataset_path: allenai/ai2_arc
dataset_name: ARC-Easy
output_type: multiple_choice
test_split: test
doc_to_text: "{{{{question}}}}"
doc_to_choice: "{{{{choices.text}}}}"
doc_to_target: 0
"""
GROUP = "group: world\ntask: [trees, said]\n"
FOREST = "group: forest\ntask: [trees]\naggregate_metric_list: [{{metric: acc}}]\n"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Checkpoint:
    return write_qwen2(tmp_path_factory.mktemp("qwen2"), name="m1")


@pytest.fixture(scope="module")
def loaded(checkpoint):
    tokenizer = AutoTokenizer.from_pretrained(checkpoint.path)
    return tokenizer, AutoModelForCausalLM.from_pretrained(checkpoint.path).eval()


@pytest.fixture(scope="module")
def folder(tmp_path_factory, loaded):
    """The tasks. For the task `free`, the model's greedy text is right for every other item."""
    folder = tmp_path_factory.mktemp("tasks")
    data = folder / "items.jsonl"
    rows = []
    for number, item in enumerate(ITEMS):
        said = _greedy(loaded, _asked(item), 6)
        rows.append(item | {"answer": said if number % 2 == 0 else "never said"})
    data.write_text("".join(f"{json.dumps(row)}\n" for row in rows), "utf-8")
    tasks = {"trees": SHARED + CHOICE, "said": SHARED + FREE, "world": GROUP, "far": FAR}
    tasks["forest"] = FOREST
    for name, text in tasks.items():
        (folder / f"{name}.yaml").write_text(text.format(data=data), "utf-8")
    return folder


@pytest.fixture
def engine(folder):
    return LmEvalEngine(device="cpu", batch_size=2, task_folder=str(folder))


def _asked(item):
    return f"Question: {item['question']}\nAnswer:"


@torch.no_grad()
def _greedy(loaded, text, new):
    tokenizer, model = loaded
    ids = tokenizer(text, return_tensors="pt")["input_ids"]
    drawn = model.generate(ids, do_sample=False, max_new_tokens=new, pad_token_id=0)
    return tokenizer.decode(drawn[0, ids.shape[1] :], skip_special_tokens=True).split("\n")[0]


@torch.no_grad()
def _log_likelihood(loaded, context, continuation):
    """The log-likelihood of the continuation's tokens, by one forward pass."""
    tokenizer, model = loaded
    start = len(tokenizer(context)["input_ids"])
    ids = torch.tensor([tokenizer(context + continuation)["input_ids"]])
    by_token = torch.log_softmax(model(ids).logits[0, :-1], -1)
    return float(by_token.gather(1, ids[0, 1:, None])[start - 1 :].sum())


def _share_right(loaded, per_character):
    right = 0
    for item in ITEMS:
        scores = [
            _log_likelihood(loaded, _asked(item), f" {choice}")
            / (len(choice) if per_character else 1)
            for choice in item["choices"]
        ]
        right += scores.index(max(scores)) == item["gold"]
    return right / len(ITEMS)


def test_accuracies_are_those_of_the_log_likelihoods(engine, checkpoint, loaded):
    """The likeliest choice is the model's answer; acc_norm divides by the number of characters."""
    figures = engine.run(checkpoint, ["trees"], None, seed=0)["trees"]
    assert figures["acc"] == pytest.approx(_share_right(loaded, per_character=False))
    assert figures["acc_norm"] == pytest.approx(_share_right(loaded, per_character=True))
    acc, n = figures["acc"], len(ITEMS)
    assert figures["acc_stderr"] == pytest.approx((acc * (1 - acc) / (n - 1)) ** 0.5)


def test_log_likelihoods_are_those_of_a_forward_pass(engine, checkpoint, loaded):
    """The harness's log-likelihoods equal those of transformers."""
    from lm_eval.api.instance import Instance

    pairs = [(_asked(item), f" {choice}") for item in ITEMS for choice in item["choices"]]
    asked = [Instance("loglikelihood", {}, pair, n) for n, pair in enumerate(pairs)]
    found = [
        value for value, _ in engine._harness(checkpoint, 0).loglikelihood(asked, disable_tqdm=True)
    ]
    assert found == pytest.approx([_log_likelihood(loaded, *pair) for pair in pairs], abs=1e-4)


def test_generated_answers_are_the_models_greedy_words(engine, checkpoint):
    """Three of five items have the model's text as their answer. The filter's name is kept."""
    figures = engine.run(checkpoint, ["said"], None, seed=0)
    assert figures["said"]["exact_match_whole"] == 3 / 5
    assert set(figures["said"]) == {"exact_match_whole", "exact_match_whole_stderr"}


def test_the_same_seed_gives_the_same_numbers(folder, checkpoint):
    """Other batches give the same numbers. The seed draws the worked examples."""
    asked = {"tasks": ["trees"], "limit": None, "seed": 3, "num_fewshot": 2}
    engine = LmEvalEngine(device="cpu", batch_size=2, task_folder=str(folder))
    first = engine.run(checkpoint, **asked)
    assert engine.run(checkpoint, **asked) == first
    other = LmEvalEngine(device="cpu", batch_size=5, task_folder=str(folder))
    assert other.run(checkpoint, **asked) == first


def test_the_limit_takes_the_first_items(engine, checkpoint):
    """With only the first item, the answer is right and there is no standard error."""
    assert engine.run(checkpoint, ["said"], 1, seed=0) == {"said": {"exact_match_whole": 1.0}}


def test_a_group_gives_its_own_figures_or_those_of_its_tasks(engine, checkpoint):
    """`forest` has figures of its own; `world` only names its tasks."""
    figures = engine.run(checkpoint, ["forest", "world"], None, seed=0)
    assert list(figures) == ["forest", "trees", "said"]
    assert set(figures["forest"]) == {"acc", "acc_stderr"}
    assert figures["forest"]["acc"] == figures["trees"]["acc"]


# What peft reads of the model is deprecated in transformers.
@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
def test_an_adapter_is_measured_on_its_base(engine, checkpoint, loaded, tmp_path):
    """A LoRA folder gives the figures of the merged model, which differ from those of its base."""
    torch.manual_seed(0)
    base = AutoModelForCausalLM.from_pretrained(checkpoint.path)
    base.name_or_path = str(checkpoint.path)
    adapted = get_peft_model(base, LoraConfig(r=4, target_modules=["q_proj", "v_proj", "o_proj"]))
    for name, weight in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.5)
    adapted.save_pretrained(tmp_path / "adapter")
    loaded[0].save_pretrained(tmp_path / "adapter")
    merged = adapted.merge_and_unload().eval()
    from lm_eval.api.instance import Instance

    pairs = [(_asked(item), f" {item['choices'][0]}") for item in ITEMS]
    asked = [Instance("loglikelihood", {}, pair, n) for n, pair in enumerate(pairs)]
    harness = engine._harness(Checkpoint(tmp_path / "adapter", "m2"), 0)
    found = [value for value, _ in harness.loglikelihood(asked, disable_tqdm=True)]
    assert found == pytest.approx(
        [_log_likelihood((loaded[0], merged), *pair) for pair in pairs], abs=1e-4
    )
    assert found != pytest.approx([_log_likelihood(loaded, *pair) for pair in pairs], abs=1e-2)


def test_a_model_that_forgot_stops_the_guard(engine, checkpoint, tmp_path):
    """M2 is M1 with other weights. It no longer gives M1's answers, so the guard stops the run."""
    model = AutoModelForCausalLM.from_pretrained(checkpoint.path)
    with torch.no_grad():
        model.model.layers[1].mlp.down_proj.weight.mul_(-1)
    model.save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(checkpoint.path).save_pretrained(tmp_path)
    m2 = Checkpoint(tmp_path, "m2")
    params = BenchmarksParams(tasks=("said",))
    m1_results, results = (run_benchmarks(m, engine, params, 0) for m in (checkpoint, m2))
    alignment, metrics = compare_with_m1(m2, results, m1_results, pd.DataFrame())
    lost = m1_results["value"][0] - results["value"][0]
    assert metrics["benchmarks/said/exact_match_whole_against_m1"] == pytest.approx(-100 * lost)
    with pytest.raises(GateError, match=r"said/exact_match_whole fell by 60.0 points") as refused:
        guard_alignment(m2, alignment, AlignmentParams(limits={"said": {"stop": 30}}))
    assert "Go back to m1" in str(refused.value)
    lenient = AlignmentParams(every={}, limits={"said": {"stop": 70}})
    assert guard_alignment(m2, alignment, lenient) == {"checked": True}


def test_a_run_is_quiet(engine, checkpoint, capfd, caplog):
    """There is no bar outside a terminal, and the log has one line per task."""
    level = logging.getLogger("lm_eval").level
    capfd.readouterr()
    with caplog.at_level(logging.INFO, "srlm_kedro"):
        engine.run(checkpoint, ["trees", "said"], None, seed=0)
    said = capfd.readouterr()
    assert "%" not in said.err
    assert said.out == ""
    assert [record.message for record in caplog.records] == [
        "m1: benchmark trees (1 of 2)",
        "m1: benchmark said (2 of 2)",
    ]
    assert logging.getLogger("lm_eval").level == level


def test_unknown_tasks_are_refused_together_before_the_model_is_read(engine, tmp_path):
    """The message names all of them, similar names, and the user's tasks."""
    tasks = [*BenchmarksParams().tasks, "treees", "arc_esay", "said"]
    with pytest.raises(InputError) as refused:
        engine.run(Checkpoint(tmp_path, "m1"), tasks, None, seed=0)
    message = str(refused.value)
    assert "2 unknown tasks (your own tasks: far, forest, said, trees, world)" in message
    assert "treees: did you mean trees?" in message
    assert "arc_esay: did you mean arc_easy?" in message


def test_data_that_is_not_on_this_machine_is_refused(engine, checkpoint, monkeypatch, tmp_path):
    """Nothing is fetched unless the configuration allows it, and the message says how."""
    import datasets
    import huggingface_hub

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(InputError, match=r"task far cannot be loaded.*`online: true`"):
        engine.run(checkpoint, ["far"], 1, seed=0)
    assert not huggingface_hub.constants.HF_HUB_OFFLINE


def test_a_folder_without_a_model_is_refused(engine, tmp_path):
    """The message names the model and its folder."""
    with pytest.raises(InputError, match=rf"m4: {tmp_path} holds no config\.json"):
        engine.run(Checkpoint(tmp_path, "m4"), ["trees"], None, seed=0)


def test_a_folder_of_tasks_that_is_not_there_is_refused(checkpoint):
    """The message names the option."""
    with pytest.raises(InputError, match=r"/nowhere is no folder.*`task_folder`"):
        LmEvalEngine(task_folder="/nowhere").run(checkpoint, ["trees"], None, seed=0)


def test_a_missing_package_is_named(engine, checkpoint, monkeypatch):
    """The message says what to install."""
    monkeypatch.setitem(sys.modules, "lm_eval", None)
    with pytest.raises(InputError, match=r"srlm_kedro\[lm-eval\]"):
        engine.run(checkpoint, ["trees"], None, seed=0)
