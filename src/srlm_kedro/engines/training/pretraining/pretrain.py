"""A small Llama trained from scratch: tokenizer, model, one pass over the documents."""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional
from transformers import DynamicCache, LlamaConfig, LlamaForCausalLM

from srlm_kedro.engines.training.base import Document, Trained
from srlm_kedro.engines.training.params import PretrainParams
from srlm_kedro.engines.training.pretraining.muon import Muon
from srlm_kedro.engines.training.pretraining.packing import Rows, batches, shared_prefix, tokenised
from srlm_kedro.engines.training.pretraining.tokenizer import make_tokenizer
from srlm_kedro.engines.training.resume.snapshots import Snapshot
from srlm_kedro.engines.training.resume.trainer_state import (
    random_states,
    restore_random_states,
    restore_weights,
    trained_weights,
)
from srlm_kedro.engines.training.resume.unfinished import UnfinishedTraining
from srlm_kedro.errors import GateError, InputError
from srlm_kedro.records import Checkpoint, derive_seed

_LOG_EVERY = 25


def pretrain(
    documents: Sequence[Document],
    params: PretrainParams,
    seed: int,
    report: Callable[[int, int, float], None] | None = None,
    work_dir: Path | None = None,
    unfinished: UnfinishedTraining | None = None,
) -> Trained:
    """M0 as an ordinary Hugging Face checkpoint. The same seed and threads give the same bits.

    Args:
        documents: Read once, in their order.
        params: Architecture and learning rates.
        seed: Decides the first weights.
        report: Called after each step with the step, the number of steps and the loss.
        work_dir: Where the scratch folder is made (default: the system's place).
        unfinished: Keeps the state, and finds it again. None keeps nothing.

    Raises:
        InputError: A document is longer than a row, or all documents together do not fill a batch.
        GateError: The loss became NaN or infinite.
    """
    tokenizer = make_tokenizer(text for document in documents for text, _ in document.segments)
    prefix = shared_prefix(documents)
    tokens = tokenised(documents, tokenizer, prefix, params.row_length)
    steps = list(batches(tokens, params.row_length, params.batch_size))
    if not steps:
        raise InputError(
            f"Pretraining: {len(documents)} documents do not fill a batch of {params.batch_size} "
            f"rows of {params.row_length} tokens. Give more documents, or lower `batch_size`."
        )
    torch.manual_seed(derive_seed(seed, "pretraining"))
    model = LlamaForCausalLM(_config(params, tokenizer))
    prefix_ids = tokenizer(prefix, add_special_tokens=False)["input_ids"]
    run = _Run(model, len(steps), params)
    log = _train(run, steps, prefix_ids, report, unfinished or UnfinishedTraining("Pretraining"))
    folder = Path(tempfile.mkdtemp(prefix="pretrain-", dir=work_dir))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return Trained(Checkpoint(folder, "m0"), log)


def _config(params: PretrainParams, tokenizer: Any) -> LlamaConfig:
    return LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=params.hidden_size,
        intermediate_size=params.mlp_size,
        num_hidden_layers=params.layers,
        num_attention_heads=params.heads,
        num_key_value_heads=params.heads,
        max_position_embeddings=params.positions,
        tie_word_embeddings=True,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
    )


@dataclass
class _Run:
    """A pretraining in progress: the model, and everything else that a step changes."""

    model: Any
    steps: int
    params: PretrainParams
    done: int = 0
    total: float = 0.0
    """The sum of the losses since the last row of the log."""
    log: list[dict[str, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._optimizers = _optimizers(self.model, self.params)
        self._schedulers = [
            torch.optim.lr_scheduler.LambdaLR(optimizer, self._rate)
            for optimizer in self._optimizers
        ]

    def step(self, loss: torch.Tensor) -> None:
        """Updates the model. Logs a row every `_LOG_EVERY` steps and at the last step."""
        number = self.done + 1
        if not torch.isfinite(loss):
            raise GateError(
                f"Pretraining: the loss is {loss.item()} at step {number} of {self.steps}; it must"
                " be a finite number. Nothing was saved. Lower the learning rates."
            )
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.params.max_grad_norm)
        for optimizer, scheduler in zip(self._optimizers, self._schedulers, strict=True):
            optimizer.step()
            scheduler.step()
            optimizer.zero_grad(set_to_none=True)
        self.done, self.total = number, self.total + loss.item()
        if number % _LOG_EVERY == 0 or number == self.steps:
            self._log_row(norm.item())

    def state(self) -> dict[str, Any]:
        """The whole state, to go on from."""
        return {
            "weights": trained_weights(self.model),
            "optimizers": [one.state_dict() for one in self._optimizers],
            "schedulers": [one.state_dict() for one in self._schedulers],
            "random": random_states(),
            "sums": {"done": self.done, "total": self.total, "log": self.log},
        }

    def restore(self, found: Snapshot) -> None:
        """Goes on from a result of `state`."""
        restore_weights(self.model, found["weights"])
        for name, owners in (("optimizers", self._optimizers), ("schedulers", self._schedulers)):
            for owner, state in zip(owners, found[name], strict=True):
                owner.load_state_dict(state)
        restore_random_states(found["random"])
        sums = found["sums"]
        self.done, self.total, self.log = sums["done"], sums["total"], sums["log"]

    def _log_row(self, norm: float) -> None:
        last = self.log[-1]["step"] if self.log else 0
        self.log.append(
            {
                "step": float(self.done),
                "loss": self.total / (self.done - last),
                "learning_rate": self._schedulers[-1].get_last_lr()[0],
                "grad_norm": norm,
            }
        )
        self.total = 0.0

    def _rate(self, step: int) -> float:
        return rate_at(step, self.steps, self.params)


def _train(
    run: _Run,
    steps: Sequence[Rows],
    prefix: list[int],
    report: Callable[[int, int, float], None] | None,
    unfinished: UnfinishedTraining,
) -> list[dict[str, float]]:
    """Trains the model, and gives the rows of the log."""
    if found := unfinished.newest():
        run.restore(found)
    run.model.train()
    for rows in steps[run.done :]:
        loss = loss_of(run.model, rows, prefix)
        run.step(loss)
        if report:
            report(run.done, len(steps), loss.item())
        if unfinished.due():
            unfinished.keep(run.done, len(steps), run.state())
    return run.log


def _optimizers(model: Any, params: PretrainParams) -> list[torch.optim.Optimizer]:
    """Muon for the matrices inside the layers, AdamW for embeddings and norms."""
    inner = [p for name, p in model.named_parameters() if p.ndim == 2 and "embed" not in name]
    inside = {id(p) for p in inner}
    outer = [p for p in model.parameters() if id(p) not in inside]
    return [
        Muon(inner, lr=params.matrix_learning_rate),
        torch.optim.AdamW(outer, lr=params.learning_rate, betas=(0.9, 0.95), weight_decay=0.0),
    ]


def rate_at(step: int, steps: int, params: PretrainParams) -> float:
    """The share of the peak rate at a step, on the line between two points of `course`."""
    return float(np.interp((step + 1) / steps, *zip(*params.course, strict=True)))


def loss_of(model: Any, rows: Rows, prefix: list[int]) -> torch.Tensor:
    """The mean cross-entropy of the tokens that count in the loss.

    Each document sees only itself and its prefix. The prefix's keys and values are computed once
    for all documents of the batch that share it.
    """
    ids, document = torch.from_numpy(rows.ids), torch.from_numpy(rows.document)
    after = torch.from_numpy(rows.after_prefix)
    count, length = ids.shape
    seen = (document[:, :, None] == document[:, None, :]).tril()
    cache = None
    if prefix and rows.after_prefix.any():
        cache = DynamicCache(config=model.config)
        model.model(torch.tensor([prefix]), past_key_values=cache, use_cache=True)
        cache.batch_repeat_interleave(count)
        seen = torch.cat([after[:, :, None].expand(count, length, len(prefix)), seen], dim=2)
    hidden = model.model(
        ids,
        # With a boolean mask, every layer would convert it to numbers again.
        attention_mask=torch.where(seen, 0.0, -torch.inf)[:, None],
        position_ids=torch.from_numpy(rows.positions) + len(prefix) * after,
        past_key_values=cache,
        use_cache=cache is not None,
    ).last_hidden_state
    follows = document[:, 1:] == document[:, :-1]
    wanted = torch.from_numpy(rows.learn)[:, 1:] & follows
    logits = model.lm_head(hidden[:, :-1][wanted])
    return functional.cross_entropy(logits, ids[:, 1:][wanted])
