"""The engine that samples through transformers' forward passes."""

import os
from collections import Counter

import pytest
import torch
from scipy.stats import chi2_contingency, chisquare
from transformers import AutoModelForCausalLM, AutoTokenizer

from srlm_kedro.display import progress
from srlm_kedro.engines.generation.base import Request, Sampling
from srlm_kedro.engines.generation.tiered.plain_rows import PlainDecoder
from srlm_kedro.engines.generation.tiered.tiered_rows import TieredDecoder
from srlm_kedro.engines.generation.transformers import TransformersEngine
from srlm_kedro.errors import InputError
from srlm_kedro.records import Checkpoint
from tests.engines.models import write_model
from tests.engines.rendering import render
from tests.engines.unbatched import Unbatched

RUBRIC = " ".join(f"w{i}" for i in range(12))
TEXTS = ["w3", "w1 w2", "w7 w8 w9 w1 w1", "w30 w31 w32 w33 w34 w35 w36 w37 w38", "w20 w21 w22"]
REQUESTS = [Request(f"p{i}", f"{RUBRIC} {text}") for i, text in enumerate(TEXTS)]


KINDS = {
    "llama": {},
    "qwen2": {},
    "qwen3": {"head_dim": 8},
    "mistral": {"sliding_window": None},
    "windowed mistral": {"sliding_window": 10},
}


@pytest.mark.parametrize("kind", KINDS)
def test_greedy_equals_generate(tmp_path, kind):
    """In batches with a shared prefix, greedy text is that of transformers' `generate`."""
    checkpoint = write_model(tmp_path, kind.split()[-1], **KINDS[kind])
    engine = TransformersEngine(device="cpu")
    rows = engine.generate(checkpoint, REQUESTS, Sampling(temperature=0, max_new_tokens=20), 0)
    unbatched = Unbatched(checkpoint)
    pairs = zip(REQUESTS, rows, strict=True)
    assert sum(unbatched.compared(request.prompt, 20, row) for request, row in pairs) > 60


LIMITS = [{"max_rows": 1}, {"max_rows": 2}, {"max_rows": 4}, {"memory_gib": 0.001}]


@pytest.mark.parametrize("kind", ["llama", "windowed mistral"])
def test_batches_do_not_change_samples(tmp_path, kind):
    """Every sample is the same text in batches of one row, of a few, or of all."""
    checkpoint = write_model(tmp_path, kind.split()[-1], **KINDS[kind])
    sampling = Sampling(n=3, max_new_tokens=16, temperature=1.0)
    whole = TransformersEngine(device="cpu").generate(checkpoint, REQUESTS, sampling, seed=4)
    for limits in LIMITS:
        engine = TransformersEngine(device="cpu", **limits)
        assert engine.generate(checkpoint, REQUESTS, sampling, seed=4) == whole


def test_a_shard_depends_on_its_own_requests_alone(checkpoint):
    """A request's samples do not change with the requests that are drawn in the same call."""
    sampling = Sampling(n=2, max_new_tokens=12, temperature=1.0)
    whole = TransformersEngine(device="cpu").generate(checkpoint, REQUESTS, sampling, seed=4)
    for shard in ([0], [3, 1], [4, 2, 0]):
        worker = TransformersEngine(device="cpu")
        rows = worker.generate(checkpoint, [REQUESTS[i] for i in shard], sampling, seed=4)
        assert rows == [whole[i] for i in shard]


def test_rows_that_end_together_are_reported_long_before(checkpoint, monkeypatch):
    """All rows end at the limit: each token is a part of the whole, and no row has ended yet."""
    monkeypatch.setattr(progress, "_OFTEN", 0)
    told = []
    listener = lambda node, done, total, far: told.append((done / total, far))  # noqa: E731
    progress.listen(listener)
    sampling = Sampling(n=2, max_new_tokens=10, min_new_tokens=10, temperature=1.0)
    TransformersEngine(device="cpu").generate(checkpoint, REQUESTS, sampling, seed=4)
    progress.unlisten(listener)
    early = [share for share, far in told if far == "0 of 10"]
    assert early[:9] == pytest.approx([(step + 1) / 10 for step in range(9)])
    assert told[-1] == (1, "10 of 10")


@pytest.mark.parametrize("kind", ["llama", "windowed mistral"])
def test_out_of_memory_halves_the_batch_and_goes_on(tmp_path, kind, monkeypatch, caplog):
    """The same samples are drawn with fewer rows at once, and the log counts it."""
    checkpoint = write_model(tmp_path, kind.split()[-1], **KINDS[kind])
    sampling = Sampling(n=3, max_new_tokens=16, temperature=1.0)
    whole = TransformersEngine(device="cpu").generate(checkpoint, REQUESTS, sampling, seed=4)
    for decoder in (TieredDecoder, PlainDecoder):
        monkeypatch.setattr(decoder, "step", _refusing(decoder.step, above=4))
    assert TransformersEngine(device="cpu").generate(checkpoint, REQUESTS, sampling, 4) == whole
    warnings = [r.getMessage() for r in caplog.records if "Out of memory" in r.getMessage()]
    assert [w[22:29] for w in warnings] == ["1. time", "2. time"]
    assert "drawn by 3 at once" in warnings[1]


def test_a_row_that_does_not_fit_alone_is_an_error(checkpoint, monkeypatch):
    """A batch of one row cannot be halved."""
    monkeypatch.setattr(TieredDecoder, "step", _refusing(TieredDecoder.step, above=0))
    with pytest.raises(torch.OutOfMemoryError):
        TransformersEngine(device="cpu").generate(
            checkpoint, REQUESTS, Sampling(max_new_tokens=4, min_new_tokens=4), 0
        )


def _refusing(step, above: int):
    def limited(decoder, tokens):
        if len(tokens) > above:
            raise torch.OutOfMemoryError("no room")
        return step(decoder, tokens)

    return limited


def test_samples_follow_the_models_distribution(tmp_path):
    """First tokens of many samples occur as often as the nucleus of the softmax says."""
    checkpoint = write_model(tmp_path, words=6)
    sampling = Sampling(n=3000, max_new_tokens=1, temperature=1.5, top_p=0.9)
    engine = TransformersEngine(device="cpu")
    row = engine.generate(checkpoint, [Request("p", "w1")], sampling, 0)[0]
    tokenizer = AutoTokenizer.from_pretrained(checkpoint.path)
    model = AutoModelForCausalLM.from_pretrained(checkpoint.path).eval()
    with torch.no_grad():
        logits = model(torch.tensor([render(tokenizer, "w1")])).logits[0, -1]
    ordered, ids = torch.softmax(logits / 1.5, -1).sort(descending=True)
    size = int((ordered.cumsum(0) < 0.9).sum()) + 1
    expected = ordered[:size] / ordered[:size].sum()
    counts = Counter(completion.text for completion in row)
    # Special tokens have no text of their own: what remains of the nucleus is compared.
    names = [tokenizer.decode([i], skip_special_tokens=True) for i in ids[:size]]
    named = [(counts[name], float(p)) for name, p in zip(names, expected, strict=True) if name]
    assert set(counts) <= {*names, ""}
    assert len(named) > 2
    seen = sum(count for count, _ in named)
    mass = sum(p for _, p in named)
    assert chisquare([c for c, _ in named], [p / mass * seen for _, p in named]).pvalue > 0.01


def test_shared_prefills_do_not_change_the_distribution(tmp_path):
    """N samples of one prefill are distributed like N requests with a prefill each."""
    checkpoint = write_model(tmp_path, words=6)
    engine = TransformersEngine(device="cpu")
    draws = 1500
    shared = engine.generate(
        checkpoint, [Request("p", "w1 w2")], Sampling(n=draws, max_new_tokens=2, top_p=1), 0
    )
    alone = engine.generate(
        checkpoint,
        [Request(f"q{i}", "w1 w2") for i in range(draws)],
        Sampling(max_new_tokens=2, top_p=1),
        0,
    )
    ours, theirs = (Counter(c.text for row in rows for c in row) for rows in (shared, alone))
    common = [text for text in ours if ours[text] + theirs[text] >= 20]
    table = [[counts[text] for text in common] for counts in (ours, theirs)]
    assert len(common) > 5
    assert chi2_contingency(table).pvalue > 0.01


def test_every_end_token_ends_a_row(tmp_path):
    """The generation config may name several end tokens; each one ends a completion."""
    checkpoint = write_model(tmp_path)
    sampling = Sampling(n=8, max_new_tokens=20, temperature=1.0)
    rows = TransformersEngine(device="cpu").generate(checkpoint, REQUESTS[:1], sampling, 0)[0]
    # Special tokens have no text of their own, so their places could not be counted.
    number = next(i for i, row in enumerate(rows) if len(row.text.split()) == 20)
    free, word = rows[number], rows[number].text.split()[2]
    model = AutoModelForCausalLM.from_pretrained(checkpoint.path)
    token = AutoTokenizer.from_pretrained(checkpoint.path).convert_tokens_to_ids(word)
    model.generation_config.eos_token_id = [2, token]
    model.save_pretrained(checkpoint.path)
    ended = TransformersEngine(device="cpu").generate(checkpoint, REQUESTS[:1], sampling, 0)[0]
    assert ended[number].finish == "stop"
    assert ended[number].text.split()[-1] == word
    assert ended[number].tokens == free.text.split().index(word) + 1


def test_prompts_that_do_not_fit_are_refused_together(checkpoint):
    """The message names each prompt that is too long, its length, the limit and what to do."""
    requests = [
        Request("short", "w1"),
        Request("long", "w1 " * 120),
        Request("longer", "w1 " * 130),
    ]
    with pytest.raises(InputError) as refusal:
        TransformersEngine(device="cpu").generate(
            checkpoint, requests, Sampling(max_new_tokens=20), 0
        )
    message = str(refusal.value)
    assert "m1: 2 of 3 prompts" in message
    assert "request long: 123 prompt tokens + 20 new ones > 128" in message
    assert "request longer: 133" in message
    assert "max_new_tokens (now 20)" in message
    assert "short:" not in message


def test_a_prompt_may_fill_the_model_to_the_last_position(checkpoint):
    """Prompt and completion together may take every position."""
    requests = [Request("p", "w1 " * 105)]
    row = TransformersEngine(device="cpu").generate(
        checkpoint, requests, Sampling(max_new_tokens=20, min_new_tokens=20), 0
    )[0]
    assert row[0].tokens == 20


def test_an_empty_raw_text_continues_the_opening_token_or_is_refused(checkpoint):
    """A prompt without tokens is refused: there is nothing to continue."""
    with pytest.raises(InputError, match="request empty: the prompt has no tokens"):
        TransformersEngine(device="cpu").generate(
            checkpoint, [Request("empty", "", chat=False)], Sampling(max_new_tokens=2), 0
        )


def test_a_folder_without_a_model_is_refused(tmp_path):
    """The message names the model and its folder."""
    with pytest.raises(InputError, match=r"m3: .* holds no config\.json"):
        TransformersEngine(device="cpu").generate(
            Checkpoint(tmp_path, "m3"), REQUESTS, Sampling(max_new_tokens=2), 0
        )


def test_a_model_is_loaded_once_until_its_files_change(tmp_path, monkeypatch):
    """Consecutive calls share the weights. They are read again after a change or a release."""
    from srlm_kedro.engines.generation import transformers

    loads = []
    real = transformers.load
    monkeypatch.setattr(transformers, "load", lambda *a: loads.append(a) or real(*a))
    checkpoint = write_model(tmp_path)
    engine, sampling = TransformersEngine(device="cpu"), Sampling(max_new_tokens=2)
    for _ in range(2):
        engine.generate(checkpoint, REQUESTS, sampling, 0)
    assert len(loads) == 1
    weights = checkpoint.path / "model.safetensors"
    os.utime(weights, ns=(0, weights.stat().st_mtime_ns + 1))
    engine.generate(checkpoint, REQUESTS, sampling, 0)
    assert len(loads) == 2
    engine.release()
    engine.generate(checkpoint, REQUESTS, sampling, 0)
    assert len(loads) == 3


def test_threads_are_set_for_the_call_alone(checkpoint):
    """The process keeps its own number of threads."""
    before = torch.get_num_threads()
    TransformersEngine(device="cpu", threads=1).generate(
        checkpoint, REQUESTS, Sampling(max_new_tokens=2), 0
    )
    assert torch.get_num_threads() == before
