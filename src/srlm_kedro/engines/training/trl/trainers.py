"""TRL's trainers for SFT and DPO, with guards, saved states and shared rows for pairs."""

import logging
import math
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import torch
from datasets import Dataset, concatenate_datasets
from torch.distributed.fsdp import FSDPModule
from trl import DPOTrainer, SFTTrainer
from trl.trainer import dpo_trainer

from srlm_kedro.engines.torch_device import is_out_of_memory
from srlm_kedro.engines.training.ranks import FILLER, Ranks
from srlm_kedro.engines.training.resume.shards import Parts
from srlm_kedro.engines.training.resume.trainer_state import (
    Resumable,
    random_states,
    restore_random_states,
)
from srlm_kedro.engines.training.trl.guards import Guarded
from srlm_kedro.engines.training.trl.objectives import REFERENCE, chosen_nll, log_ratios
from srlm_kedro.engines.training.trl.scoring import CompletionScorer, lacks_backbone
from srlm_kedro.engines.training.trl.shared_prompts import (
    PairCollator,
    PairScorer,
    is_less_work,
    reason_against_sharing,
)
from srlm_kedro.errors import GateError

_log = logging.getLogger(__name__)
_AGREEMENT = {False: 1e-4, True: 1e-1}
"""The largest change of log-probabilities by sharing a row (root mean square over a pair's tokens),
without and with bfloat16. Measured in bfloat16: up to 0.04 by rounding, 0.5 and more by wrong
positions."""
_LEAK = {False: 1e-5, True: 1e-3}
"""The largest change of a rejected token's log-probability by other chosen ids, likewise."""


class GuardedSft(Guarded, Resumable, SFTTrainer):
    """SFT. Paper: section 3.1, loss on the target tokens only."""

    def __init__(self, *args: Any, per_example: bool = False, **kwargs: Any):
        """Takes TRL's arguments, and whether each example counts equally, or else each token."""
        self._per_example = per_example
        super().__init__(*args, **kwargs)

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> torch.Tensor:
        """TRL's loss, computed only from the log-probabilities of the completions."""
        inputs.pop("real", None)
        scorer = _completion_scorer(self, model)
        if self._per_example and num_items_in_batch is not None:
            examples = self.rows_of_step()
            scorer = _PerExample(scorer, num_items_in_batch / examples)
        return super().compute_loss(scorer, inputs, return_outputs, num_items_in_batch)


class GuardedDpo(Guarded, Resumable, DPOTrainer):
    """DPO, plus the chosen response's negative log-likelihood if `nll_weight` is not 0.

    Both responses of a pair share a row if the model allows it and it is less work. With dropout
    they then share the random mask of the prompt. For each response the distribution is the same.
    """

    def __init__(
        self,
        *args: Any,
        reading: Sequence[int | None],
        nll_weight: float = 0.0,
        max_log_ratio: float = math.inf,
        **kwargs: Any,
    ):
        """Takes TRL's arguments and its own.

        Args:
            args: Of TRL.
            reading: Numbers of pairs in the order of training; None is a filler.
            nll_weight: See `DpoParams`.
            max_log_ratio: See `DpoParams`.
            kwargs: Of TRL and of `Guarded`.
        """
        self._nll_weight = nll_weight
        self._max_log_ratio = max_log_ratio
        self._log_ratios: list[torch.Tensor] = []
        self._reading = reading
        self._shares_rows = False
        with _without_hash(kwargs.get("ranks")):
            super().__init__(*args, **kwargs)
        if self.ranks.many:
            # TRL gathers a value for each pair; ranks have different numbers of pairs.
            self._gather = self.accelerator.gather
            self.accelerator.gather = self._gather_rows
            # A forward without gradients leaves some modules whole, and these would never train.
            for module in self.model.modules():
                if isinstance(module, FSDPModule):
                    module.reshard()

    def training_step(self, *args: Any, **kwargs: Any) -> Any:
        """The loss of a micro-batch. After the last one of a step, the log-ratio is checked.

        Raises:
            GateError: The policy is further from the reference than `max_log_ratio` allows.
        """
        loss = super().training_step(*args, **kwargs)
        if self.accelerator.gradient_state.sync_gradients:
            self._check_log_ratio()
        return loss

    def _check_log_ratio(self) -> None:
        ratio = self._mean_over_ranks(torch.cat(self._log_ratios))
        self._log_ratios.clear()
        self._metrics["train"]["log_ratio"].append(ratio)
        if not ratio <= self._max_log_ratio:
            step, steps = self.state.global_step + 1, self.state.max_steps
            raise GateError(
                f"{self.label}: the policy runs away from its reference: at step {step} of {steps} "
                f"the log-ratio per token is {ratio:.2f} nats in the mean over the responses "
                f"(limit `dpo.max_log_ratio` = {self._max_log_ratio}). Nothing was saved and the "
                "model it started from is unchanged. Lower dpo.learning_rate or raise dpo.beta; "
                "or raise the limit."
            )

    def _mean_over_ranks(self, values: torch.Tensor) -> float:
        if not self.ranks.many:
            return values.mean().item()
        found = self.ranks.gathered((values.double().sum().item(), len(values)))
        return sum(total for total, _ in found) / sum(count for _, count in found)

    def _prepare_dataset(self, dataset: Dataset, *args: Any, **kwargs: Any) -> Dataset:
        """The rows unchanged: they already hold the same ids that sampling uses."""
        return dataset

    def _precompute_ref_logps(self, dataset: Dataset, *args: Any, **kwargs: Any) -> Dataset:
        """The pairs in the order of training, each with the reference's log-probabilities.

        The reference reads each pair once. TRL reads pairs here for the first time, so this method
        also decides whether the responses of a pair share a row.
        """
        if kept := self.unfinished.reference():
            return self._as_read(self._with_reference(dataset, kept))
        rows = dataset.to_list()
        if is_less_work(rows, self.model.config.get_text_config(decoder=True).hidden_size):
            if reason := self._reason_against_sharing(rows):
                _log.info("%s: chosen and rejected do not share a row: %s.", self.label, reason)
            else:
                self._start_sharing()
        found = super()._precompute_ref_logps(dataset, *args, **kwargs)
        values = {name: torch.tensor(found[name][:], dtype=torch.float64) for name in REFERENCE}
        # Reading the pairs has drawn random numbers, so their state is kept as well.
        parts = {"said": values, "shares": self._shares_rows, "random": random_states()}
        self.unfinished.keep_reference(parts)
        return self._as_read(found)

    def _as_read(self, dataset: Dataset) -> Dataset:
        """The pairs in the order of training; a filler is any pair, marked."""
        read = dataset.select([place or 0 for place in self._reading])
        if not self.ranks.many:
            return read
        return read.add_column(FILLER, [place is None for place in self._reading])

    def _with_reference(self, dataset: Dataset, kept: Parts) -> Dataset:
        """The pairs with the kept log-probabilities of the reference; restores the rest, too."""
        if kept["shares"]:
            self._start_sharing()
        restore_random_states(kept["random"])
        columns = {name: values.tolist() for name, values in kept["said"].items()}
        return concatenate_datasets([dataset, Dataset.from_dict(columns)], axis=1)

    def _start_sharing(self) -> None:
        self.data_collator = PairCollator(self.data_collator.pad_token_id)
        self._shares_rows = True

    def _reason_against_sharing(self, rows: list[dict[str, Any]]) -> str | None:
        if self.aux_loss_enabled:
            return "the balance of its experts is measured on whole sequences"
        longest = max(rows, key=lambda row: len(row["chosen_ids"]))
        return reason_against_sharing(self.model, rows) or self._disagreement(longest)

    def _disagreement(self, row: dict[str, Any]) -> str | None:
        """How this pair's log-probabilities differ between one row and two; None if they agree.

        Some architectures ignore the positions, and recurrent ones ignore the mask. Then the
        rejected response depends on the chosen one.
        """
        vocabulary = self.model.config.get_text_config(decoder=True).vocab_size
        other = {**row, "chosen_ids": [(one + 1) % vocabulary for one in row["chosen_ids"]]}
        separate = self._token_log_probs(row, share_rows=False)
        try:
            shared = self._token_log_probs(row, share_rows=True)
            probed = self._token_log_probs(other, share_rows=True)
        except Exception as error:  # an architecture's own code may raise anything
            if is_out_of_memory(error):
                raise
            return f"the model refuses such a row ({type(error).__name__}: {error})"
        finally:
            self._shares_rows = False
        rounded = self.args.bf16 or self.model.dtype != torch.float32
        leak = (probed - shared)[len(row["chosen_ids"]) :].abs().max().item()
        if not leak <= _LEAK[rounded]:
            return f"other chosen ids change a rejected token's log-probability by {leak:.1e}"
        change = (shared - separate).square().mean().sqrt().item()
        if not change <= _AGREEMENT[rounded]:
            return f"its log-probabilities change by {change:.1e} per token"
        return None

    def _token_log_probs(self, row: dict[str, Any], share_rows: bool) -> torch.Tensor:
        """The reference's log-probability of each chosen token, then of each rejected token."""
        model, plain = self.ref_model or self.model, self.data_collator
        collator = PairCollator(plain.pad_token_id) if share_rows else plain
        self._shares_rows = share_rows
        recorder = _Recorder(self._scorer_of(model.eval()))
        inputs = self._prepare_inputs(collator([row]))
        super().compute_ref_log_probs(recorder, inputs)
        mask = inputs["completion_mask"][:, 1:].bool()
        return recorder.found.log_probs[:, -mask.shape[1] :][mask].float()

    def compute_ref_log_probs(self, model: Any, inputs: Any) -> Any:
        """The reference's log-probabilities, without dropout, for an adapter as well."""
        model.eval()
        return super().compute_ref_log_probs(self._scorer_of(model), inputs)

    def compute_loss(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
        """The mean loss of the pairs. In training it is weighted for the mean over the step."""
        self._real = real = inputs.pop("real", len(inputs["input_ids"]) // 2)
        recorder = _Recorder(self._scorer_of(model))
        loss = super().compute_loss(recorder, inputs, *args, **kwargs)
        if self._nll_weight:
            nll = chosen_nll(recorder.found.log_probs, inputs["completion_mask"])
            loss = loss + self._nll_weight * nll
        if not self.model.training:
            return loss
        ratios = log_ratios(recorder.found.log_probs.detach(), inputs, self.ld_alpha)
        self._log_ratios.append(ratios[: 2 * real])
        weight = self._loss_weight(real)
        return loss if weight == 1 else loss * weight

    def _loss_weight(self, pairs: int) -> float:
        """The weight that turns the mean over micro-batches into a mean over the step's pairs.

        The trainer gives all micro-batches of all ranks the same weight, but some hold fewer pairs.
        In a full step of one rank the weight is 1.
        """
        step, ranks = self.rows_of_step(), self.ranks
        rounds = ranks.micro_batches(step, self.args.per_device_train_batch_size)
        return pairs * rounds * ranks.size / step

    def _gather_rows(self, values: torch.Tensor) -> torch.Tensor:
        """The values of all ranks; of a value for each pair, those that are no fillers."""
        if values.dim() == 0:
            return self._gather(values)
        return torch.cat(self.ranks.gathered(values[: self._real].cpu())).to(values.device)

    def _scorer_of(self, model: Any) -> Any:
        scorer = _completion_scorer(self, model)
        if not self._shares_rows:
            return scorer
        config = self.model.config.get_text_config(decoder=True)
        return PairScorer(scorer, config._attn_implementation)


@dataclass
class _PerExample:
    """Calls a scorer, and weights each row's log-probabilities by the inverse of their number.

    The trainer divides their sum by the tokens of the step. With these weights the loss is the mean
    over the step's examples of the mean over the tokens of each.
    """

    scorer: Any
    mean_tokens: float
    """Tokens per example of the step."""

    def __call__(self, **inputs: Any) -> Any:
        found = self.scorer(**inputs)
        tokens = found.label_mask.sum(1, keepdim=True).clamp(min=1)
        found.log_probs = found.log_probs * (self.mean_tokens / tokens)
        return found


@dataclass
class _Recorder:
    """Calls a scorer and keeps its result."""

    scorer: Any
    found: Any = None

    def __call__(self, **inputs: Any) -> Any:
        self.found = self.scorer(**inputs)
        return self.found


def _completion_scorer(trainer: Any, model: Any) -> Any:
    """The model; on the CPU with a head that scores only completions, as TRL's does on GPUs.

    Ranks compute a micro-batch as a whole: each forward of one needs a forward of all others.
    """
    if trainer.ranks.many:
        return model
    on_cpu = trainer.args.device.type == "cpu"
    return CompletionScorer(model) if on_cpu or lacks_backbone(trainer.model) else model


def _without_hash(ranks: Ranks | None) -> AbstractContextManager[Any]:
    """Inside, TRL does not hash the weights, of which each of many ranks has a part."""
    if ranks is None or not ranks.many:
        return nullcontext()
    return patch.object(dpo_trainer, "hash_module", lambda _: "")
