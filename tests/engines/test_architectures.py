"""Architectures of all kinds: rows that are sampled together get the text that each gets alone."""

import json

import pytest
import torch

from srlm_kedro.engines.generation.base import Sampling
from srlm_kedro.engines.generation.loading import load
from srlm_kedro.engines.generation.tiered.plain_rows import PlainDecoder
from srlm_kedro.engines.generation.tiered.strategies import Strategy, find_strategy
from srlm_kedro.engines.generation.transformers import TransformersEngine
from srlm_kedro.errors import InputError
from tests.engines.architectures import REQUESTS, draws_as_unbatched, trains, tried
from tests.engines.tiny import write_tiny

FAMILIES = {
    "llama": Strategy.TIERED,
    "olmo2": Strategy.TIERED,
    "qwen3_moe": Strategy.TIERED,
    "gemma3": Strategy.PADDED,
    "gpt_oss": Strategy.PADDED,
    "qwen3_next": Strategy.PADDED,
    "qwen3_5": Strategy.PADDED,
    "falcon_h1": Strategy.PADDED,
    "lfm2": Strategy.PADDED,
    "jamba": Strategy.PADDED,
    "mamba": Strategy.PADDED,
    "mamba2": Strategy.PADDED,
    "deepseek_v4": Strategy.SAME_LENGTH,
    "minimax": Strategy.SAME_LENGTH,
    "rwkv": Strategy.UNCACHED,
}


@pytest.mark.parametrize("kind", FAMILIES)
def test_texts_are_those_of_each_prompt_alone(tmp_path, kind):
    """Greedy text is that of `generate`: attention, windows, recurrent states, experts, ..."""
    checkpoint = write_tiny(tmp_path, kind)
    assert find_strategy(load(checkpoint, "float32", "cpu").model).strategy is FAMILIES[kind]
    assert draws_as_unbatched(checkpoint) > 10


@pytest.mark.parametrize("kind", ["qwen3_next", "mamba2", "deepseek_v4"])
def test_sft_and_dpo_train_them(tmp_path, kind):
    """Recurrent layers are trained, and experts whose number has another name."""
    trains(write_tiny(tmp_path / "model", kind), tmp_path)


def test_a_frequency_that_follows_the_longest_row_keeps_lengths_apart(tmp_path):
    """Next to a long prompt, a short one would be rotated by other frequencies."""
    rope = {
        "rope_type": "longrope",
        "rope_theta": 1e4,
        "short_factor": [1.0] * 4,
        "long_factor": [4.0] * 4,
        "original_max_position_embeddings": 12,
    }
    checkpoint = write_tiny(tmp_path, "phi3", rope_parameters=rope, sliding_window=None)
    assert find_strategy(load(checkpoint, "float32", "cpu").model).strategy is Strategy.SAME_LENGTH
    assert draws_as_unbatched(checkpoint) > 10


def test_why_it_is_not_faster_is_said_once(tmp_path, caplog):
    """Only the first call logs it."""
    checkpoint = write_tiny(tmp_path, "minimax")
    engine = TransformersEngine(device="cpu", threads=1)
    for seed in range(2):
        engine.generate(checkpoint, REQUESTS, Sampling(max_new_tokens=2), seed)
    said = [r.getMessage() for r in caplog.records if "sampled together" in r.getMessage()]
    assert said == [
        "m1: only prompts of one length are sampled together, so sampling is slower: it makes a "
        "cache of its own."
    ]


def test_a_cache_that_takes_padding_in_is_not_padded(tmp_path, monkeypatch):
    """A trial of few tokens shows a recurrent layer that ignores the mask."""
    model = load(write_tiny(tmp_path, "mamba"), "float32", "cpu").model
    start = PlainDecoder._first_inputs
    unmasked = {"attention_mask": None}
    monkeypatch.setattr(PlainDecoder, "_first_inputs", lambda *known: start(*known) | unmasked)
    found = find_strategy(model)
    assert found.strategy is Strategy.SAME_LENGTH
    assert "differ" in found.last_reason


def test_a_cache_whose_rows_cannot_be_chosen_is_done_without(tmp_path, monkeypatch):
    """Then sampling is slow and exact."""

    def stuck(decoder, rows):
        if decoder._cached:
            raise TypeError("no rows here")
        return plain(decoder, rows)

    plain = PlainDecoder._select
    monkeypatch.setattr(PlainDecoder, "_select", stuck)
    checkpoint = write_tiny(tmp_path, "qwen3_next")
    found = find_strategy(load(checkpoint, "float32", "cpu").model)
    assert (found.strategy, found.last_reason) == (Strategy.UNCACHED, "TypeError: no rows here")
    assert draws_as_unbatched(checkpoint) > 10


def test_a_model_that_looks_ahead_is_refused(tmp_path):
    """BERT fills gaps: it sees the tokens after the one that it predicts."""
    checkpoint = write_tiny(tmp_path, "bert", is_decoder=False)
    engine = TransformersEngine(device="cpu", threads=1)
    for ask in (
        lambda: engine.refuse_unfit(checkpoint),
        lambda: engine.generate(checkpoint, REQUESTS, Sampling(max_new_tokens=2), 0),
    ):
        with pytest.raises(
            InputError, match=r"m1: the architecture bert .* cannot be sampled from.* differ"
        ):
            ask()


def test_an_encoder_is_refused_by_every_engine(tmp_path, trainer):
    """The message says which kind of model is needed."""
    checkpoint = write_tiny(tmp_path, "llama")
    file = checkpoint.path / "config.json"
    config = json.loads(file.read_text()) | {"model_type": "bart", "is_encoder_decoder": True}
    file.write_text(json.dumps(config))
    for engine in (trainer, TransformersEngine(device="cpu", threads=1)):
        with pytest.raises(InputError, match=r"m1: .* an encoder and a decoder \(bart\)"):
            engine.refuse_unfit(checkpoint)


def test_the_survey_says_what_it_could_not_build(tmp_path):
    """The table has a row with the reason."""
    outcome = tried("git", tmp_path)
    assert (outcome.path, outcome.well) == ("not built", True)
    assert outcome.reason
    assert torch.is_inference_mode_enabled() is False
