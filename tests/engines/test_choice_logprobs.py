"""Log-probabilities of named answers: those of one plain pass over each prompt, at less cost."""

import math

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from srlm_kedro.engines import chat
from srlm_kedro.engines.generation.base import Request
from srlm_kedro.engines.generation.loading import load
from srlm_kedro.engines.generation.tiered.strategies import Strategy, find_strategy
from srlm_kedro.engines.generation.transformers import TransformersEngine
from srlm_kedro.errors import InputError
from srlm_kedro.records import Checkpoint
from tests.engines.models import write_model, write_qwen2
from tests.engines.rendering import render, render_completion
from tests.engines.tiny import write_tiny

CHOICES = (("w1", "w2"), ("w3",))
RUBRIC = " ".join(f"w{i}" for i in range(17))
FIRST = " ".join(f"w{7 * i % 40}" for i in range(25))
SECOND = " ".join(f"w{(11 * i + 3) % 40}" for i in range(18))
RESPONSES = [FIRST, SECOND, "w5", f"{FIRST} {SECOND}"]
CRITERIA = ["w1", "w2 w3", "w4"]
REQUESTS = [
    *(
        Request(f"{place}-{number}", f"{RUBRIC} {response} {criterion}")
        for place, response in enumerate(RESPONSES)
        for number, criterion in enumerate(CRITERIA)
    ),
    Request("short", "w9"),
    Request("again", f"{RUBRIC} {FIRST} w1"),
]
FAMILIES = {
    "llama": Strategy.TIERED,
    "qwen3_moe": Strategy.TIERED,
    "gemma3": Strategy.PADDED,
    "mamba2": Strategy.PADDED,
    "minimax": Strategy.SAME_LENGTH,
    "rwkv": Strategy.UNCACHED,
}


def plain(checkpoint: Checkpoint, requests=REQUESTS, choices=CHOICES, dtype=torch.float32):
    """What one pass over each prompt gives."""
    model = AutoModelForCausalLM.from_pretrained(checkpoint.path, dtype=dtype).eval()
    tokenizer = AutoTokenizer.from_pretrained(checkpoint.path)
    rows = []
    for request in requests:
        with torch.no_grad():
            logits = model(torch.tensor([render(tokenizer, request.prompt)])).logits[0, -1]
        shares = torch.softmax(logits.float(), -1)
        ids = [{render_completion(tokenizer, text)[0] for text in each} for each in choices]
        rows.append([math.log(sum(float(shares[i]) for i in each)) for each in ids])
    return rows


def engine(**options) -> TransformersEngine:
    return TransformersEngine(device="cpu", threads=1, **options)


def close(found, expected, by=2e-5):
    return torch.allclose(torch.tensor(found), torch.tensor(expected), atol=by, rtol=0)


@pytest.mark.parametrize("kind", FAMILIES)
def test_values_are_those_of_each_prompt_alone(tmp_path, kind):
    """This holds in batches of any size: attention, experts, windows, recurrent states."""
    checkpoint = write_tiny(tmp_path, kind)
    assert find_strategy(load(checkpoint, "float32", "cpu").model).strategy is FAMILIES[kind]
    expected = plain(checkpoint)
    for limits in ({}, {"max_rows": 3}, {"max_rows": 1}, {"memory_gib": 0.001}):
        assert close(engine(**limits).choice_logprobs(checkpoint, REQUESTS, CHOICES), expected)


@pytest.mark.parametrize("kind", ["llama", "gemma3"])
def test_half_precision_rounds_and_no_more(tmp_path, kind):
    """In bfloat16 the values are close to those of one pass in bfloat16."""
    checkpoint = write_tiny(tmp_path, kind)
    expected = plain(checkpoint, dtype=torch.bfloat16)
    found = engine(dtype="bfloat16").choice_logprobs(checkpoint, REQUESTS, CHOICES)
    assert close(found, expected, by=0.1)


def test_the_same_call_gives_the_same_bits(checkpoint):
    """It depends neither on earlier calls nor on a release; other neighbours change only noise."""
    one = engine()
    first = one.choice_logprobs(checkpoint, REQUESTS, CHOICES)
    assert one.choice_logprobs(checkpoint, REQUESTS, CHOICES) == first
    one.release()
    assert one.choice_logprobs(checkpoint, REQUESTS, CHOICES) == first
    assert engine().choice_logprobs(checkpoint, REQUESTS, CHOICES) == first
    assert first[-1] == first[0]
    for shard in ([3], [12, 5, 4], [8, 2, 0]):
        rows = one.choice_logprobs(checkpoint, [REQUESTS[i] for i in shard], CHOICES)
        assert close(rows, [first[i] for i in shard])


def test_what_prompts_share_goes_through_the_model_once(checkpoint, monkeypatch):
    """The rubric is computed once in all, each response once for its criteria."""
    one = engine()
    one.choice_logprobs(checkpoint, REQUESTS[:1], CHOICES)
    model = one._ready.loaded.model
    passed = []
    forward = model.forward

    def counted(input_ids, **how):
        passed.append(input_ids.numel())
        return forward(input_ids=input_ids, **how)

    monkeypatch.setattr(model, "forward", counted)
    asked = [r for r in REQUESTS if r.id.startswith(("0", "1"))]
    one.choice_logprobs(checkpoint, asked, CHOICES)
    words = [len(text.split()) for text in CRITERIA]
    # <s> and <user> begin a prompt, <assistant> ends it.
    once = 2 + 17 + 25 + 18 + 2 * (sum(words) + len(words))
    assert sum(passed) == once
    whole = sum(len(render(one._ready.loaded.tokenizer, r.prompt)) for r in asked)
    assert whole > 2 * once


def test_out_of_memory_halves_the_batch_and_goes_on(checkpoint, monkeypatch, caplog):
    """The same values are read with fewer prompts at once; one that does not fit is an error."""
    words = [f"w{i}" for i in range(40)]
    texts = [" ".join(words[5 * i :] + words[: 5 * i]) for i in range(8)]
    requests = [Request(f"{text} {end}", f"{text} {end}") for text in texts for end in CRITERIA]
    one = engine()
    expected = one.choice_logprobs(checkpoint, requests, CHOICES)
    model = one._ready.loaded.model
    monkeypatch.setattr(model, "forward", _refusing(model.forward, above=100))
    assert close(one.choice_logprobs(checkpoint, requests, CHOICES), expected)
    assert "24 prompts are left and are read by 12 at once" in caplog.text
    monkeypatch.setattr(model, "forward", _refusing(model.forward, above=10))
    with pytest.raises(torch.OutOfMemoryError):
        one.choice_logprobs(checkpoint, requests, CHOICES)


def _refusing(forward, above: int):
    def limited(input_ids, **how):
        if input_ids.numel() > above:
            raise torch.OutOfMemoryError("no room")
        return forward(input_ids=input_ids, **how)

    return limited


def test_choices_that_name_every_token_have_probability_one(checkpoint):
    """The values are natural logarithms of shares of the whole vocabulary."""
    tokenizer = AutoTokenizer.from_pretrained(checkpoint.path)
    words = tuple(f"w{i}" for i in range(40))
    every = engine().choice_logprobs(checkpoint, REQUESTS[:2], (words,))
    assert all(-1 < value < 0 for row in every for value in row)
    one_by_one = engine().choice_logprobs(checkpoint, REQUESTS[:2], [(word,) for word in words])
    for row, whole in zip(one_by_one, every, strict=True):
        assert math.fsum(map(math.exp, row)) == pytest.approx(math.exp(whole[0]))
    assert len(tokenizer) == 46


def test_a_spelling_begins_as_training_begins_a_completion(tmp_path):
    """Pieces of words count: only the first token of each distinct beginning is read."""
    checkpoint = write_qwen2(tmp_path)
    choices = (("Yes", "yes", "Yesterday"), ("No", "no"))
    requests = [Request("a", "Is the sea blue?"), Request("b", "Is it in Paris?")]
    expected = plain(checkpoint, requests, choices)
    assert close(engine().choice_logprobs(checkpoint, requests, choices), expected)


@pytest.mark.parametrize(
    ("choices", "said"),
    [
        ((("w1", "w2"), ("w2 w3",)), r"m1: .*'w2' and 'w2 w3' begin with the same token \d+ "),
        ((("w1",), ("nothing",)), "m1: .*no token for the beginning of 'nothing'"),
        ((("w1",), ("w1",)), "'w1' is a spelling of two answers"),
        ((("w1",), ("",)), "answer 2 has an empty spelling"),
        ((("w1",), ()), "answer 2 has no spelling"),
        ((), "no answer is named"),
    ],
)
def test_choices_that_cannot_be_told_apart_are_refused(checkpoint, choices, said):
    """The message names the model, the spellings and the token."""
    with pytest.raises(InputError, match=f"(?s){said}"):
        engine().choice_logprobs(checkpoint, REQUESTS, choices)


def test_the_answer_is_read_where_training_begins_it(tmp_path):
    """A template that opens a thought gets it closed, as in the rows that training sees."""
    checkpoint = write_model(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(checkpoint.path)
    tokenizer.add_tokens(["<think>", "</think>"])
    tokenizer.chat_template = tokenizer.chat_template.replace(
        "<assistant>{% endif %}", "<assistant><think>\n{% endif %}"
    )
    tokenizer.save_pretrained(checkpoint.path)
    model = AutoModelForCausalLM.from_pretrained(checkpoint.path)
    model.resize_token_embeddings(len(tokenizer))
    model.save_pretrained(checkpoint.path)
    (ids,) = chat.render_for_answers(tokenizer, ["w4 w5"])
    assert ids[-1] == tokenizer.convert_tokens_to_ids("</think>")
    with torch.no_grad():
        shares = torch.log_softmax(model.eval()(torch.tensor([ids])).logits[0, -1], -1)
    token = tokenizer.convert_tokens_to_ids("w3")
    found = engine().choice_logprobs(checkpoint, [Request("a", "w4 w5")], (("w3",),))
    assert found[0][0] == pytest.approx(float(shares[token]), abs=1e-5)


def test_a_prompt_needs_room_for_one_token(checkpoint):
    """One that is optional and has none gets NaN; others are refused together."""
    fits = Request("fits", "w1 " * 124)
    long = Request("long", "w1 " * 125)
    spare = Request("spare", "w1 " * 130, optional=True)
    rows = engine().choice_logprobs(checkpoint, [spare, fits], CHOICES)
    assert all(map(math.isnan, rows[0]))
    assert close(rows[1:], plain(checkpoint, [fits]))
    with pytest.raises(InputError, match=r"(?s)m1: 1 of 3 .*request long: 128 prompt tokens"):
        engine().choice_logprobs(checkpoint, [fits, long, spare], CHOICES)


def test_no_requests_no_rows(tmp_path):
    """Nothing is loaded for them."""
    assert engine().choice_logprobs(Checkpoint(tmp_path, "none"), [], CHOICES) == []
