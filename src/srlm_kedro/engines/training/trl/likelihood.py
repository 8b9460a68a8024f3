"""The log-probabilities of given completions under a model."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch.nn.utils.rnn import pad_sequence
from trl.trainer.utils import add_fused_lm_head

from srlm_kedro.display.progress import Progress
from srlm_kedro.engines.training.trl.policy import TrainingOptions, load_policy
from srlm_kedro.engines.training.trl.scoring import CompletionScorer, lacks_backbone
from srlm_kedro.engines.training.trl.token_rows import (
    IGNORED,
    POSITIONS,
    Limit,
    Row,
    length,
    refuse_long,
    sft_rows,
)
from srlm_kedro.records import Checkpoint, Example

_BATCH = 8192
"""The most tokens in a batch, padding included. A longer row is a batch of its own."""


def log_probs(
    checkpoint: Checkpoint, examples: Sequence[Example], setup: TrainingOptions
) -> list[float]:
    """The log-probability of each completion, in nats, without dropout.

    It is the sum over the completion's tokens. The end of the turn counts unless the completion was
    cut.

    Raises:
        InputError: The folder is not a readable checkpoint, or a row is too long for the model.
    """
    if not examples:
        return []
    policy = load_policy(checkpoint, 0.0, setup)
    rows = sft_rows(policy.tokenizer, examples)
    if policy.positions:
        prompts = [example.prompt for example in examples]
        refuse_long(rows, prompts, Limit(policy.positions, POSITIONS))
    model = policy.model.eval().to("cpu" if setup.cpu else "cuda")
    add_fused_lm_head(model)
    scorer = CompletionScorer(model) if setup.cpu or lacks_backbone(model) else model
    found = [0.0] * len(rows)
    progress = Progress(checkpoint.name, sum(map(length, rows)), "tokens")
    with torch.inference_mode(), _precision(setup), progress:
        for batch in _batches(rows):
            inputs = _padded([rows[place] for place in batch], model.device)
            by_token = scorer(**inputs, use_cache=False, fused_lm_head=True).log_probs
            for place, value in zip(batch, by_token.double().sum(1).tolist(), strict=True):
                found[place] = value
                progress.add(length(rows[place]))
    return found


def _batches(rows: Sequence[Row]) -> Iterator[list[int]]:
    """The places of the rows in each batch: rows of similar length, the longest first."""
    batch: list[int] = []
    for place in sorted(range(len(rows)), key=lambda place: length(rows[place]), reverse=True):
        if batch and (len(batch) + 1) * length(rows[batch[0]]) > _BATCH:
            yield batch
            batch = []
        batch.append(place)
    yield batch


def _padded(rows: Sequence[Row], device: torch.device) -> dict[str, torch.Tensor]:
    """The rows as one padded batch; the results for padding are not used."""
    ids, labels = ([torch.tensor(row[name]) for row in rows] for name in ("input_ids", "labels"))
    mask = [torch.ones_like(one) for one in ids]
    parts = {"input_ids": (ids, 0), "labels": (labels, IGNORED), "attention_mask": (mask, 0)}
    return {
        name: pad_sequence(one, batch_first=True, padding_value=fill).to(device)
        for name, (one, fill) in parts.items()
    }


def _precision(setup: TrainingOptions) -> AbstractContextManager[Any]:
    """The same precision as in training."""
    kind = "cpu" if setup.cpu else "cuda"
    return torch.autocast(kind, torch.bfloat16) if setup.bf16 else nullcontext()
