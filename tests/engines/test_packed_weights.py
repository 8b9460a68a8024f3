"""Packed weights: the same logits by oneDNN's product, on large models alone."""

import copy

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from srlm_kedro.engines.generation import packed_weights
from srlm_kedro.engines.generation.packed_weights import PackedLinear, pack


def _model(**others: object) -> LlamaForCausalLM:
    config = LlamaConfig(
        vocab_size=97,
        hidden_size=64,
        intermediate_size=80,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        tie_word_embeddings=True,
        **others,
    )
    torch.manual_seed(0)
    return LlamaForCausalLM(config).eval().requires_grad_(False)


def _packed(model: torch.nn.Module) -> int:
    return sum(isinstance(module, PackedLinear) for module in model.modules())


@pytest.fixture
def any_size(monkeypatch):
    """Models of every size are packed."""
    monkeypatch.setattr(packed_weights, "_WORTH_PACKING", 0)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("rows", [1, 5, 300])
def test_a_packed_model_has_the_logits_of_the_plain_one(any_size, bias, rows):
    plain = _model(attention_bias=bias)
    for weight in plain.parameters():
        torch.nn.init.normal_(weight, std=0.1)
    packed = copy.deepcopy(plain)
    assert pack(packed)
    assert _packed(packed) == 2 * 7 + 1
    ids = torch.randint(97, (1, rows))
    torch.testing.assert_close(packed(ids).logits, plain(ids).logits, rtol=1e-4, atol=1e-4)


def test_a_small_model_keeps_its_bits():
    model = _model()
    assert not pack(model)
    assert not _packed(model)


def test_another_precision_is_not_packed(any_size):
    assert not pack(_model().to(torch.bfloat16))


def test_a_model_that_reads_a_weight_itself_stays_as_it_was(any_size, caplog):
    model = _model()
    layer = model.model.layers[0].mlp
    layer.forward = lambda x: x * layer.up_proj.weight[0] + x
    before = model(torch.tensor([[1, 2, 3]])).logits
    with caplog.at_level("INFO"):
        assert not pack(model)
    assert "weight" in caplog.text
    assert torch.equal(model(torch.tensor([[1, 2, 3]])).logits, before)


def test_a_product_that_differs_is_not_taken(any_size, monkeypatch):
    monkeypatch.setattr(
        PackedLinear, "forward", lambda self, x: x.new_ones(*x.shape[:-1], self.out_features)
    )
    model = _model()
    assert not pack(model)
    assert not _packed(model)


def test_a_build_of_torch_without_the_operations_is_left_alone(any_size, monkeypatch):
    monkeypatch.setattr(packed_weights, "_has_packing", lambda: False)
    assert not pack(_model())


def test_a_model_that_fills_the_memory_is_left_alone(any_size, monkeypatch, caplog):
    monkeypatch.setattr(packed_weights.machine, "memory", lambda: 2**10)
    with caplog.at_level("INFO"):
        assert not pack(_model())
    assert "memory" in caplog.text
