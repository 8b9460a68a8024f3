"""Log-probabilities of completions only: TRL's losses and gradients with less work."""

import pytest
import torch
from torch.nn.functional import linear
from transformers.modeling_outputs import CausalLMOutput
from trl.trainer.utils import add_fused_lm_head

from srlm_kedro.engines.training.trl import scoring
from srlm_kedro.engines.training.trl.policy import load_policy
from srlm_kedro.engines.training.trl.scoring import CompletionScorer
from srlm_kedro.engines.training.trl.token_rows import IGNORED
from tests.engines.models import write_model

FIELDS = ("log_probs", "entropy", "mean_logits", "is_top1", "label_mask")
KINDS = {
    "llama": {},
    "qwen2": {},
    "qwen3": {"head_dim": 8},
    "mistral": {"sliding_window": 4},
    "gemma2": {"head_dim": 8, "final_logit_softcapping": 2.0},
    "cohere": {"logit_scale": 0.5},
    "gpt2": {},
    "opt": {"word_embed_proj_dim": 32, "ffn_dim": 64},
    "mamba": {"state_size": 4},
}


def batch(lengths=(11, 9, 9, 4), completions=(6, 2, 8, 1)):
    """Padded rows with labels on their last tokens."""
    torch.manual_seed(3)
    ids, labels = torch.zeros(2, len(lengths), max(lengths), dtype=torch.long)
    labels.fill_(IGNORED)
    mask = torch.zeros_like(ids)
    for row, (length, completion) in enumerate(zip(lengths, completions, strict=True)):
        ids[row, :length] = torch.randint(6, 40, (length,))
        mask[row, :length] = 1
        labels[row, length - completion : length] = ids[row, length - completion : length]
    return {"input_ids": ids, "attention_mask": mask, "labels": labels, "use_cache": False}


def scored(model, call):
    """The result, and the gradients of its summed log-probabilities."""
    found = call(**batch(), fused_lm_head=True)
    found.log_probs.sum().backward()
    gradients = [one.grad.clone() for one in model.parameters()]
    model.zero_grad()
    return found, gradients


def assert_same(model, call):
    found, gradients = scored(model, call)
    wanted, wanted_gradients = scored(model, model)
    for name in FIELDS:
        torch.testing.assert_close(found[name], wanted[name], atol=1e-5, rtol=1e-5, msg=name)
    for one, other in zip(gradients, wanted_gradients, strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)


def with_trls_head(checkpoint, tied=False):
    model = load_policy(checkpoint, 0.0).model
    if tied:
        model.get_output_embeddings().weight = model.get_input_embeddings().weight
    return patched(model)


def patched(model):
    add_fused_lm_head(model, outputs=("log_probs", "entropy", "mean_logits", "is_top1"))
    return model


def assert_same_without_gradients(model):
    with torch.no_grad():
        found, wanted = (
            call(**batch(), fused_lm_head=True) for call in (CompletionScorer(model), model)
        )
    torch.testing.assert_close(found.log_probs, wanted.log_probs, atol=1e-5, rtol=1e-5)
    assert torch.equal(found.label_mask, wanted.label_mask)


@pytest.mark.parametrize(("kind", "config"), KINDS.items(), ids=KINDS)
@pytest.mark.parametrize("group", [1, 20, 1000])
def test_all_that_trl_reads_is_as_from_its_own_head(tmp_path, kind, config, group, monkeypatch):
    """It holds for groups or all rows at once, and for scaled and capped logits."""
    monkeypatch.setattr(scoring, "_GROUP_TOKENS", group)
    model = with_trls_head(write_model(tmp_path, kind=kind, **config))
    assert_same(model, CompletionScorer(model))
    assert_same_without_gradients(model)


def test_a_head_that_is_the_embedding_too(checkpoint):
    """Tied weights get both gradients."""
    model = with_trls_head(checkpoint, tied=True)
    assert_same(model, CompletionScorer(model))


@pytest.mark.parametrize("calls", [0, 2])
def test_a_head_that_is_not_called_once_is_left_to_trl(checkpoint, calls):
    """A model's code may skip its output layer, or call it twice."""
    model = load_policy(checkpoint, 0.0).model

    def forward(use_cache=False, **inputs):
        hidden = model.base_model(**inputs).last_hidden_state
        for _ in range(calls):
            model.lm_head(hidden)
        return CausalLMOutput(logits=linear(hidden, model.lm_head.weight))

    model.forward = forward
    patched(model)
    assert_same(model, CompletionScorer(model))
    assert_same_without_gradients(model)


def test_too_many_logits_are_left_to_trls_tiles(checkpoint, monkeypatch):
    """The result is the same, by TRL's output layer."""
    model = with_trls_head(checkpoint)
    monkeypatch.setattr(scoring, "_MOST_LOGITS", 0)
    monkeypatch.setattr(CompletionScorer, "_score", lambda *args: pytest.fail("not left to TRL"))
    assert_same(model, CompletionScorer(model))


def test_rows_without_a_label_add_nothing(checkpoint):
    """A batch with only prompts has a loss of zero that can be differentiated."""
    model = with_trls_head(checkpoint)
    inputs = batch()
    inputs["labels"].fill_(IGNORED)
    found = CompletionScorer(model)(**inputs, fused_lm_head=True)
    found.log_probs.sum().backward()
    assert not found.log_probs.any()


def test_the_model_is_left_as_it_was(checkpoint):
    """No hook stays, so the model gives all logits again."""
    model = with_trls_head(checkpoint)
    CompletionScorer(model)(**batch(), fused_lm_head=True)
    assert model(batch()["input_ids"]).logits.shape[:2] == (4, 11)


def test_without_gradients_only_a_group_is_in_memory(tmp_path, monkeypatch):
    """A batch whose logits would be too many is still scored in groups; in training it is not."""
    monkeypatch.setattr(scoring, "_GROUP_TOKENS", 12)
    model = with_trls_head(write_model(tmp_path))
    monkeypatch.setattr(scoring, "_MOST_LOGITS", 12 * model.config.vocab_size)
    rows: list[int] = []
    model.get_output_embeddings().register_forward_hook(
        lambda module, arguments, logits: rows.append(logits.shape[-2])
    )
    with torch.no_grad():
        CompletionScorer(model)(**batch(), fused_lm_head=True)
    assert sum(rows) == sum((6, 2, 8, 1))
    assert max(rows) <= 12
    rows.clear()
    CompletionScorer(model)(**batch(), fused_lm_head=True)
    assert sum(rows) != sum((6, 2, 8, 1))
