"""Keys and values that rows share: the logits are those of each row by itself."""

import copy
import gc
import random
import weakref

import pytest
import torch
from transformers import AutoModelForCausalLM

from srlm_kedro.engines.generation.tiered import tiered_rows, tiers, token_grids
from srlm_kedro.engines.generation.tiered.attention import attend, join
from srlm_kedro.engines.generation.tiered.strategies import refusal_of_tiers
from srlm_kedro.engines.generation.tiered.tiered_rows import TieredDecoder
from srlm_kedro.engines.generation.tiered.tiers import Room
from tests.engines.models import write_model

ALIKE = {
    "llama": {},
    "qwen2": {"num_key_value_heads": 1},
    "qwen3": {"head_dim": 16},
    "mistral": {"sliding_window": None, "num_key_value_heads": 4},
    "gemma": {"head_dim": 8, "num_key_value_heads": 1},
    "olmo2": {},
    "phi3": {},
    "gpt_neox": {},
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 128},
}
OTHERWISE = {
    "mistral": {"sliding_window": 10},
    "gemma2": {"head_dim": 8},
    "qwen2_moe": {"use_sliding_window": True, "sliding_window": 20, "max_window_layers": 0},
    "phimoe": {"sliding_window": 20},
    "phi3": {
        "rope_parameters": {
            "rope_type": "longrope",
            "rope_theta": 1e4,
            "short_factor": [1.0] * 4,
            "long_factor": [2.0] * 4,
            "original_max_position_embeddings": 64,
        }
    },
    "bloom": {"n_head": 4},
}


def model_of(folder, kind, dtype=torch.float32, words=40, **config):
    """A tiny model of an architecture."""
    checkpoint = write_model(folder, kind, words, **config)
    return AutoModelForCausalLM.from_pretrained(checkpoint.path, dtype=dtype).eval()


class Session:
    """Rows that join and leave at random, each compared with its own whole sequence."""

    def __init__(self, model, alone, prefix: list[int], seed: int):
        self.alone = alone
        self.random, self.prefix = random.Random(seed), prefix
        self.decoder = TieredDecoder(model, prefix, Room(groups=6, rows=12, tail=30))
        self.rows: list[list[int]] = []

    def token(self) -> int:
        return self.random.randrange(40)

    def admit(self, lengths: list[int], copies: list[int]) -> None:
        prompts = [self.prefix + [self.token() for _ in range(length)] for length in lengths]
        logits = self.decoder.admit(prompts, copies)
        new = [list(p) for p, count in zip(prompts, copies, strict=True) for _ in range(count)]
        self.rows += new
        self.compare(logits, new)

    def step(self) -> None:
        tokens = [self.token() for _ in self.rows]
        for row, token in zip(self.rows, tokens, strict=True):
            row.append(token)
        self.compare(self.decoder.step(torch.tensor(tokens)), self.rows)

    def drop(self, count: int) -> None:
        done = set(self.random.sample(range(len(self.rows)), count))
        self.rows = [self.rows[row] for row in self.decoder.drop(done)]

    def compare(self, logits: torch.Tensor, rows: list[list[int]]) -> None:
        expected = [self.alone(torch.tensor([row])).logits[0, -1] for row in rows]
        torch.testing.assert_close(logits, torch.stack(expected), rtol=0, atol=1e-4)


@pytest.mark.parametrize("kind", ALIKE)
@pytest.mark.parametrize("prefix", [0, 9])
@torch.inference_mode()
def test_logits_are_those_of_each_row_alone(tmp_path, monkeypatch, kind, prefix):
    """With rows joining and leaving, logits are within 1e-4 of a plain forward pass."""
    model = model_of(tmp_path, kind, initializer_range=0.2, **ALIKE[kind])
    alone = copy.deepcopy(model)
    assert refusal_of_tiers(model) is None
    monkeypatch.setattr(tiered_rows, "PREFILL_TOKENS", 16)
    monkeypatch.setattr(token_grids, "_BLOCK", 1)  # buffers are refitted at every chance
    session = Session(model, alone, list(range(3, 3 + prefix)), seed=prefix)
    session.admit([14, 9, 9, 3], [3, 1, 2, 3])
    for _ in range(3):
        session.step()
    session.drop(4)
    session.step()
    session.admit([5, 2], [1, 2])
    session.step()
    session.drop(len(session.rows) - 1)
    session.step()
    session.drop(1)
    session.admit([70, 1], [1, 4])
    for _ in range(25):
        session.step()
    session.admit([2], [2])
    session.step()
    session.drop(5)  # the old ones among them: columns that are no longer used
    session.step()


@pytest.mark.parametrize("kind", OTHERWISE)
def test_what_attends_otherwise_is_refused(tmp_path, kind):
    """A trial of few tokens shows windows, caps and biases; the model stays as it was."""
    model = model_of(tmp_path, kind, **OTHERWISE[kind])
    own = model.config._attn_implementation
    reason = refusal_of_tiers(model)
    assert reason
    assert model.config._attn_implementation == own
    assert model(torch.tensor([[1, 2, 3]])).logits.isfinite().all()


def test_short_prompts_behind_a_long_one_are_not_padded_to_it():
    """A pass holds no more cells than it may, unless a single prompt is longer."""
    lengths = [900, *[1] * 2000]
    parts = list(tiered_rows._parts(lengths))
    assert [place for part in parts for place in range(2001)[part]] == list(range(2001))
    for part in parts:
        held = lengths[part]
        assert len(held) == 1 or len(held) * max(held) <= tiered_rows.PREFILL_TOKENS


@torch.inference_mode()
def test_outgrown_buffers_go_back_to_the_system(tmp_path, monkeypatch):
    """Once for each width that all layers have outgrown, and never for those that are in use."""
    model = model_of(tmp_path, "llama")
    assert refusal_of_tiers(model) is None
    widths = []
    decoder = TieredDecoder(model, [], Room(groups=1, rows=2, tail=40))
    monkeypatch.setattr(tiers, "_TRIM_AT", 0)
    monkeypatch.setattr(
        tiers, "give_back_heap", lambda: widths.append(decoder._tiers._layers[0].tails.tokens)
    )
    decoder.admit([[3, 4, 5]], [2])
    for _ in range(40):
        decoder.step(torch.tensor([6, 7]))
    assert widths == [32, 40]


def test_buffers_go_with_their_decoder(tmp_path):
    """The tiers do not refer to themselves, so a finished wave frees its memory at once."""
    model = model_of(tmp_path, "llama")
    assert refusal_of_tiers(model) is None
    gc.disable()
    try:
        decoder = TieredDecoder(model, [3, 4], Room(groups=1, rows=2, tail=4))
        decoder.admit([[3, 4, 5]], [2])
        decoder.step(torch.tensor([6, 7]))
        held = weakref.ref(decoder._tiers)
        del decoder
        assert held() is None
    finally:
        gc.enable()


def test_float16_sums_do_not_overflow():
    """Many equal keys with large values give their mean."""
    query, key = torch.zeros(1, 1, 8).half(), torch.zeros(1, 3000, 8).half()
    value = torch.full((1, 3000, 8), 30.0).half()
    torch.testing.assert_close(join([attend(query, key, value)]), torch.full((1, 1, 8), 30.0))


def test_half_precision_is_supported(tmp_path):
    """In bfloat16 the tiers' logits are those of the model within its rounding."""
    shape = {"words": 4000, "num_hidden_layers": 6, "initializer_range": 0.02}
    assert refusal_of_tiers(model_of(tmp_path, "llama", dtype=torch.bfloat16, **shape)) is None


def test_parts_join_to_the_whole_softmax():
    """Attention over keys cut in any way is attention over all of them."""
    generator = torch.Generator().manual_seed(0)
    query, key, value = (torch.randn(2, n, 8, generator=generator) * 3 for n in (3, 20, 20))
    hidden = torch.zeros(3, 20)
    hidden[:, 15:] = -torch.inf
    cuts = [slice(0, 1), slice(1, 12), slice(12, 20)]
    parts = [attend(query, key[:, c], value[:, c], hidden[:, c]) for c in cuts]
    scores = query @ key.transpose(1, 2) + hidden
    torch.testing.assert_close(join(parts), torch.softmax(scores, -1) @ value)
