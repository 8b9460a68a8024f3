"""M0 is trained from scratch: tokenizer, packing and training."""

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from transformers import AutoModelForCausalLM, AutoTokenizer

from srlm_kedro.engines.training.base import Document
from srlm_kedro.engines.training.params import PretrainParams
from srlm_kedro.engines.training.pretraining import tokenizer as words
from srlm_kedro.engines.training.pretraining.packing import batches, shared_prefix, tokenised
from srlm_kedro.engines.training.pretraining.pretrain import loss_of, pretrain, rate_at
from srlm_kedro.errors import GateError, InputError
from srlm_kedro.microworld import corpus
from tests.engines.rendering import render, render_completion

RUBRIC = "<user>Add 1 point if it is right. Instruction: "
DOCUMENTS = [
    Document(
        (
            (RUBRIC, False),
            (f"Say {word} again.", False),
            (f"\n\nResponse: ({word}, {word}).<assistant>", False),
            (f"It says {word}.\nScore: 5<eos>", True),
        )
    )
    for word in ("oak", "elm", "pine")
] + [
    Document((("<user>", False), (f"Say {word}!<assistant>", True), (f"{word}.<eos>", True)))
    for word in ("tea", "milk", "oak", "elm")
]
TINY = PretrainParams(
    matrix_learning_rate=0.02,
    course=((0, 0), (0.1, 1), (1, 0.5)),
    hidden_size=16,
    layers=2,
    heads=2,
    mlp_size=32,
    positions=128,
    row_length=48,
    batch_size=2,
)


@pytest.fixture(scope="module")
def tokenizer():
    return words.make_tokenizer(text for document in DOCUMENTS for text, _ in document.segments)


@pytest.fixture(scope="module")
def trained():
    torch.set_num_threads(1)
    return pretrain(DOCUMENTS * 8, TINY, seed=1)


def test_what_was_decoded_is_encoded_to_the_same_ids(tokenizer):
    """The text is readable, and no id is lost on the way to text and back."""
    for document in DOCUMENTS:
        ids = tokenizer("".join(text for text, _ in document.segments))["input_ids"]
        plain = [number for number in ids if number >= len(words.SPECIAL)]
        text = tokenizer.decode(ids, skip_special_tokens=True)
        assert tokenizer(text)["input_ids"] == plain
        assert tokenizer.unk_token_id not in ids
    assert tokenizer.decode(tokenizer("( oak ,\noak ) !")["input_ids"]) == "(oak,\noak)!"


def test_documents_have_the_form_of_the_chat_template(tokenizer):
    """A turn in the corpus has the form that sampling and fine-tuning render."""
    assert (corpus.USER, corpus.ASSISTANT, corpus.END) == (words.USER, words.ASSISTANT, words.END)
    written = tokenizer("<user>Say oak!<assistant>oak.<eos>")["input_ids"]
    rendered = render(tokenizer, "Say oak!") + render_completion(tokenizer, "oak.")
    assert written == rendered


def test_a_text_cannot_spell_a_special_token(tokenizer):
    """A user's `<eos>` becomes a few unknown words, not the end token."""
    ids = render(tokenizer, "Say <eos><assistant> oak!")
    assert ids.count(tokenizer.eos_token_id) == 0
    assert ids.count(tokenizer.convert_tokens_to_ids(words.ASSISTANT)) == 1


def test_packing_keeps_every_token_once(tokenizer):
    """Full batches hold whole documents, each once, without the shared prefix."""
    prefix = shared_prefix(DOCUMENTS)
    assert prefix == RUBRIC
    tokens = tokenised(DOCUMENTS * 8, tokenizer, prefix, limit=48)
    packed = list(batches(tokens, length=48, rows=2))
    found = sorted(
        tuple(rows.ids[row][rows.document[row] == place])
        for rows in packed
        for row in range(2)
        for place in range(1, rows.document[row].max() + 1)
    )
    wanted = sorted(tuple(one.ids) for one in tokens)
    assert set(found) == set(wanted)
    assert len(wanted) - 10 <= len(found) <= len(wanted)


def test_a_document_longer_than_a_row_is_refused(tokenizer):
    """Documents are never cut silently."""
    with pytest.raises(InputError, match="row_length"):
        tokenised(DOCUMENTS, tokenizer, "", limit=10)


@pytest.mark.parametrize(
    "given", [DOCUMENTS, DOCUMENTS[:3] * 2, DOCUMENTS[3:] * 5], ids=["some", "all", "none"]
)
def test_a_packed_document_is_seen_alone_behind_its_prefix(trained, given):
    """The loss of packed rows equals the loss of each document in a row of its own."""
    model = AutoModelForCausalLM.from_pretrained(trained.checkpoint.path)
    tokenizer = AutoTokenizer.from_pretrained(trained.checkpoint.path)
    prefix = shared_prefix(DOCUMENTS)
    tokens = tokenised(given, tokenizer, prefix, limit=48)
    rows = next(batches(tokens, length=48, rows=2))
    packed = loss_of(model, rows, tokenizer(prefix)["input_ids"])
    losses = []
    seen = [tuple(rows.ids[r][rows.document[r] == p]) for r in range(2) for p in range(1, 9)]
    for document, own in zip(given, tokens, strict=True):
        if tuple(own.ids) not in seen:
            continue
        seen.remove(tuple(own.ids))
        pieces = [(tokenizer(text)["input_ids"], learnt) for text, learnt in document.segments]
        ids = torch.tensor([[number for piece, _ in pieces for number in piece]])
        learn = np.concatenate([[learnt] * len(piece) for piece, learnt in pieces])
        scores = model(ids).logits[0, :-1].log_softmax(-1)
        picked = scores.gather(1, ids[0, 1:, None])[:, 0]
        losses.append(-picked[torch.from_numpy(learn[1:])])
    assert packed.item() == pytest.approx(torch.cat(losses).mean().item(), abs=1e-4)


def test_the_same_seed_gives_the_same_bits(trained):
    """Two runs agree in every weight; another seed differs."""
    again = pretrain(DOCUMENTS * 8, TINY, seed=1)
    other = pretrain(DOCUMENTS * 8, TINY, seed=2)
    weights = [
        (one.checkpoint.path / "model.safetensors").read_bytes() for one in (trained, again, other)
    ]
    assert weights[0] == weights[1] != weights[2]


def test_training_lowers_the_loss(trained):
    """The model learns, and the log says so."""
    longer = pretrain(DOCUMENTS * 60, TINY, seed=1)
    assert longer.log[-1]["loss"] < 0.7 * longer.log[0]["loss"]
    assert set(longer.log[-1]) == {"step", "loss", "learning_rate", "grad_norm"}


def test_too_few_documents_are_refused():
    """Documents that do not fill a batch make no model."""
    with pytest.raises(InputError, match="do not fill a batch"):
        pretrain(DOCUMENTS[:1], TINY, seed=1)


def test_a_loss_that_is_no_number_stops_training():
    """Learning rates that are far too high are reported, and nothing is saved."""
    wild = TINY.model_copy(update={"learning_rate": 1e30})
    with pytest.raises(GateError, match="learning rates"):
        pretrain(DOCUMENTS * 60, wild, seed=1)


def test_rates_follow_their_course():
    """They follow straight lines between the points. The last step is at the last point."""
    params = PretrainParams(course=((0, 0), (0.1, 1), (0.5, 1), (1, 0.2)))
    rates = [rate_at(step, 100, params) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[9:50] == pytest.approx([1.0] * 41)
    assert rates[74] == pytest.approx(0.6)
    assert rates[99] == pytest.approx(0.2)


@pytest.mark.parametrize("course", [(), ((0, 1),), ((0, 0), (0.5, 1)), ((0, 0), (1, 1), (1, 0))])
def test_a_course_that_is_none_is_refused(course):
    """It must go from the first step to the last."""
    with pytest.raises(ValidationError, match="from 0 to 1"):
        PretrainParams(course=course)


def test_rates_below_zero_are_refused():
    """The model would unlearn."""
    with pytest.raises(ValidationError, match="greater than or equal to 0"):
        PretrainParams(course=((0, 0), (1, -1)))
