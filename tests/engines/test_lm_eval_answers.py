"""Answers of lm-eval's tasks are drawn by our sampler, and are those of lm-eval's own class."""

import logging
import re

import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

from srlm_kedro.errors import InputError
from srlm_kedro.records import Checkpoint
from tests.engines.models import write_model, write_qwen2

pytest.importorskip("lm_eval")

from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM

from srlm_kedro.engines.generation.loading import load
from srlm_kedro.engines.published.lm_eval import LmEvalEngine
from srlm_kedro.engines.published.lm_eval_answers import DrawingLM, Limits
from srlm_kedro.engines.published.lm_eval_requests import wanted

QUESTIONS = [
    "Name a tree.",
    "What is the capital of France?",
    "w1 w2 w3",
    "Where does it grow? " * 9,
]
LONG = "The oak, the elm and the pine grow where the ground is wet in spring. " * 60
GREEDY = {"until": [], "do_sample": False, "temperature": 0.0, "max_gen_toks": 12}


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory) -> dict[str, Checkpoint]:
    return {
        "qwen2": write_qwen2(tmp_path_factory.mktemp("qwen2"), name="m1"),
        "llama": write_model(tmp_path_factory.mktemp("llama")),
    }


def _ours(checkpoint, **limits):
    return DrawingLM(checkpoint, load(checkpoint, "float32", "cpu"), 1, Limits(**limits))


def _theirs(checkpoint):
    model = AutoModelForCausalLM.from_pretrained(checkpoint.path).eval()
    tokenizer = AutoTokenizer.from_pretrained(checkpoint.path)
    return HFLM(model, tokenizer=tokenizer, batch_size=1)


def _asked(contexts, **arguments):
    both = GREEDY | arguments
    return [Instance("generate_until", {}, (text, both), n) for n, text in enumerate(contexts)]


@pytest.mark.parametrize("kind", ["qwen2", "llama"])
@pytest.mark.parametrize("chat", [True, False])
def test_greedy_answers_are_those_of_lm_evals_class(checkpoints, kind, chat):
    """Raw and chat contexts, one that is too long, stop strings, special tokens as stop strings."""
    ours, theirs = _ours(checkpoints[kind]), _theirs(checkpoints[kind])
    contexts = [*QUESTIONS, LONG]
    if chat:
        contexts = [
            theirs.apply_chat_template([{"role": "user", "content": text}]) for text in contexts
        ]
    requests = _asked(contexts)
    whole = theirs.generate_until(requests, disable_tqdm=True)
    assert ours.generate_until(requests, disable_tqdm=True) == whole
    stop = next(found for text in whole for found in re.findall("[a-z0-9]{2}", text))
    for until in ([stop], [stop, "<|im_end|>", "<s>"], stop):
        asked = _asked(contexts, until=until)
        found = ours.generate_until(asked, disable_tqdm=True)
        assert found == theirs.generate_until(asked, disable_tqdm=True)
        assert all(stop not in text for text in found)
        assert found != whole


def test_requests_of_several_kinds_keep_their_places(checkpoints):
    """Answers of different lengths are drawn apart, and come back in the order of the requests."""
    ours = _ours(checkpoints["qwen2"])
    requests = [
        one
        for pair in zip(_asked(QUESTIONS), _asked(QUESTIONS, max_gen_toks=3), strict=True)
        for one in pair
    ]
    found = ours.generate_until(requests, disable_tqdm=True)
    assert found[::2] == ours.generate_until(_asked(QUESTIONS), disable_tqdm=True)
    assert found[1::2] == ours.generate_until(_asked(QUESTIONS, max_gen_toks=3), disable_tqdm=True)


def test_a_sample_depends_on_the_seed_and_not_on_its_neighbours(checkpoints):
    """The same context again is another sample."""
    arguments = {"do_sample": True, "temperature": 1.0, "top_p": 0.9}
    drawn = [
        _ours(checkpoints["qwen2"], seed=seed).generate_until(
            _asked([QUESTIONS[0], QUESTIONS[1], QUESTIONS[0]], **arguments), disable_tqdm=True
        )
        for seed in (1, 1, 2)
    ]
    assert drawn[0] == drawn[1]
    assert drawn[0] != drawn[2]
    assert drawn[0][0] != drawn[0][2]
    alone = _ours(checkpoints["qwen2"], seed=1, max_rows=1).generate_until(
        _asked([QUESTIONS[1]], **arguments), disable_tqdm=True
    )
    assert alone == [drawn[0][1]]


def test_what_our_sampler_lacks_is_drawn_by_lm_eval(checkpoints, caplog):
    """One line of the log says what it is, and the answers are lm-eval's."""
    ours, theirs = _ours(checkpoints["qwen2"]), _theirs(checkpoints["qwen2"])
    asked = _asked(QUESTIONS, repetition_penalty=1.5)
    with caplog.at_level(logging.INFO, "srlm_kedro"):
        found = ours.generate_until(asked, disable_tqdm=True)
    assert found == theirs.generate_until(asked, disable_tqdm=True)
    ours_said = [one.message for one in caplog.records if one.name.startswith("srlm_kedro")]
    assert ours_said == [
        "m1: lm-eval draws 4 answers itself: our sampler does not have repetition_penalty."
    ]


def test_an_answer_that_leaves_no_room_is_refused(checkpoints):
    """The message names the task, both numbers and the knob."""
    request = _asked(["Why?"], max_gen_toks=512)
    request[0].task_name = "gsm8k"
    with pytest.raises(InputError, match=r"the task gsm8k .* 512 tokens.* 512 .*`max_gen_toks`"):
        _ours(checkpoints["qwen2"]).generate_until(request)


def test_a_cut_context_is_told(checkpoints, caplog):
    """As many as lose their beginning, in one line."""
    with caplog.at_level(logging.INFO, "srlm_kedro"):
        _ours(checkpoints["qwen2"]).generate_until(_asked([LONG, "Why?"]), disable_tqdm=True)
    assert "m1: 1 of 2 prompts leave no room for an answer of 12 tokens." in caplog.text


def test_log_likelihoods_stay_lm_evals_after_drawing(checkpoints):
    """The model attends as before, so a task of choices can follow a task of answers."""
    pair = ("Name a tree.", " The oak")
    request = [Instance("loglikelihood", {}, pair, 0)]
    ours = _ours(checkpoints["qwen2"])
    ours.generate_until(_asked(QUESTIONS), disable_tqdm=True)
    found = ours.loglikelihood(request, disable_tqdm=True)[0][0]
    theirs = _theirs(checkpoints["qwen2"]).loglikelihood(request, disable_tqdm=True)[0][0]
    assert found == pytest.approx(theirs, abs=1e-4)


def test_the_engines_knobs_and_seed_reach_the_sampler(checkpoints):
    """Two seeds of a run are two seeds of the sampler."""
    engine = LmEvalEngine(device="cpu", max_rows=3, memory_gib=0.5)
    first, other = (engine._harness(checkpoints["qwen2"], seed)._limits for seed in (0, 1))
    assert (first.max_rows, first.memory_gib) == (3, 0.5)
    assert first.seed != other.seed


@pytest.mark.parametrize(
    ("arguments", "configured", "beyond"),
    [
        ({"do_sample": False, "top_k": 5}, {"temperature": 0.2, "top_k": 20}, ()),
        ({"do_sample": True, "temperature": 0.5}, {"top_k": 20}, ("top_k",)),
        ({"do_sample": True, "temperature": 0.5, "top_k": 0}, {"top_k": 20}, ()),
        ({"do_sample": False}, {"repetition_penalty": 1.1}, ("repetition_penalty",)),
        ({"do_sample": False}, {"repetition_penalty": 1.0, "num_beams": 1, "eos_token_id": 2}, ()),
        ({"do_sample": False, "num_beams": 4}, {}, ("num_beams",)),
        ({"do_sample": True}, {}, ("do_sample without a temperature",)),
    ],
)
def test_what_is_beyond_our_sampler_is_found(arguments, configured, beyond):
    """In the task or in the model's own file; what changes no greedy answer does not count."""
    assert wanted(arguments, configured, "</s>", 256).beyond == beyond


def test_temperature_top_p_and_length_are_the_tasks():
    """The model's own top-p holds where the task says none; `do_sample: false` is greedy."""
    asked = {"temperature": 0.6, "max_tokens": 7, "until": "\n"}
    want = wanted(asked, {"top_p": 0.8, "temperature": 0.1}, "</s>", 256)
    sampling = want.sampling
    assert (sampling.temperature, sampling.top_p, sampling.max_new_tokens) == (0.6, 0.8, 7)
    assert (sampling.stop, want.stop) == (("\n",), ("\n", "</s>"))
    assert wanted(asked | {"top_p": 0.95}, {"top_p": 0.8}, "</s>", 1).sampling.top_p == 0.95
    greedy = wanted({"do_sample": False, "temperature": 0.6}, {}, "</s>", 256).sampling
    assert (greedy.temperature, greedy.max_new_tokens) == (0, 256)
