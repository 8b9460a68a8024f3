"""What the tests of training share: a few rows, quick settings, and plain log-probabilities."""

import hashlib

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from srlm_kedro.engines.training.params import DpoParams, SftParams
from srlm_kedro.records import Checkpoint, Example, Preference
from tests.engines.rendering import render, render_completion

EXAMPLES = [
    Example("w1 w2 w3", "w4 w5 w6 w5 w7 w8"),
    Example("w9 w10", "w10 w11"),
    Example("w1 w12 w13", "w13 w4 w8"),
    Example("w14 w15 w12", "w12 w15"),
]
PAIRS = [Preference(e.prompt, e.completion, "w16 w17 w16 w8") for e in EXAMPLES]
SFT = SftParams(
    learning_rate=1e-2,
    min_learning_rate=1e-3,
    batch_size=4,
    micro_batch_size=4,
    dropout=0,
    epochs=5,
)
DPO = DpoParams(
    learning_rate=3e-3,
    min_learning_rate=3e-4,
    batch_size=4,
    micro_batch_size=4,
    dropout=0,
    epochs=5,
    max_log_ratio=50,  # random weights are soon far from where they were
)


def weights_hash(checkpoint: Checkpoint) -> str:
    return hashlib.sha256((checkpoint.path / "model.safetensors").read_bytes()).hexdigest()


def completion_logps(checkpoint: Checkpoint, prompt: str, completion: str) -> torch.Tensor:
    """Log-probability of each completion token, the end token included, one text at a time."""
    tokenizer = AutoTokenizer.from_pretrained(checkpoint.path)
    model = AutoModelForCausalLM.from_pretrained(checkpoint.path).eval()
    start = render(tokenizer, prompt)
    ids = torch.tensor([start + render_completion(tokenizer, completion)])
    with torch.no_grad():
        logps = model(input_ids=ids).logits.log_softmax(-1)
    return logps[0, :-1].gather(1, ids[0, 1:, None])[len(start) - 1 :, 0]


def mean_logp(checkpoint: Checkpoint, side: str) -> float:
    sums = [completion_logps(checkpoint, p.prompt, getattr(p, side)).sum() for p in PAIRS]
    return torch.stack(sums).mean().item()
