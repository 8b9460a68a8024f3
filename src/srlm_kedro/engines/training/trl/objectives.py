"""The losses of both trainers, and what DPO's follow-ups add to its own."""

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from datasets import Dataset, concatenate_datasets
from trl import DPOTrainer, SFTTrainer

from srlm_kedro.engines.torch_device import is_out_of_memory
from srlm_kedro.engines.training.params import DpoParams
from srlm_kedro.engines.training.resume.snapshots import Snapshot
from srlm_kedro.engines.training.resume.trainer_state import (
    Resumable,
    put_random_states,
    random_states,
)
from srlm_kedro.engines.training.trl.guards import Guarded
from srlm_kedro.engines.training.trl.scoring import CompletionScorer, lacks_backbone
from srlm_kedro.engines.training.trl.shared_prompts import (
    PairCollator,
    PairReader,
    obstacle,
    shorter,
)
from srlm_kedro.errors import GateError

_log = logging.getLogger(__name__)
_AGREEMENT = {False: 1e-4, True: 1e-1}
"""Largest root mean square, over a pair's tokens, of what one row changes; by whether bfloat16
rounds it. Measured there: up to 0.04 from rounding, 0.5 and more from wrong positions."""
_LEAK = {False: 1e-5, True: 1e-3}
"""Largest change of a rejected token's log-probability by other chosen ids; likewise."""
_REFERENCE = ("ref_chosen_logps", "ref_rejected_logps")
"""TRL's names for what the reference says of a pair."""


class GuardedSft(Guarded, Resumable, SFTTrainer):
    """SFT. Paper: section 3.1, loss on the target tokens only."""

    def compute_loss(self, model: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
        """TRL's loss, from the completions' log-probabilities alone."""
        return super().compute_loss(_scorer(self, model), *args, **kwargs)


class GuardedDpo(Guarded, Resumable, DPOTrainer):
    """DPO, with the chosen response's negative log-likelihood if it has a weight.

    Both responses of a pair share a row where the model allows it and that is less work. With
    dropout they then share its random mask on the prompt: the same in law for each response.
    """

    def __init__(
        self,
        *args: Any,
        reading: Sequence[int],
        nll_weight: float = 0.0,
        max_log_ratio: float = math.inf,
        **kwargs: Any,
    ):
        """As TRL's, with values of `DpoParams`, and the order of reading the pairs."""
        self._nll_weight = nll_weight
        self._max_log_ratio = max_log_ratio
        self._log_ratios: list[torch.Tensor] = []
        self._reading = reading
        self._shares = False
        super().__init__(*args, **kwargs)

    def training_step(self, *args: Any, **kwargs: Any) -> Any:
        """The loss of a micro-batch; after a step's last one the policy is seen not to run away.

        Raises:
            GateError: It is further from the reference than `max_log_ratio` allows.
        """
        loss = super().training_step(*args, **kwargs)
        if self.accelerator.gradient_state.sync_gradients:
            self._refuse_running_away()
        return loss

    def _refuse_running_away(self) -> None:
        ratio = torch.cat(self._log_ratios).mean().item()
        self._log_ratios.clear()
        self._metrics["train"]["log_ratio"].append(ratio)
        if not ratio <= self._max_log_ratio:
            step, steps = self.state.global_step + 1, self.state.max_steps
            raise GateError(
                f"{self.label}: the policy runs away from its reference: at step {step} of {steps} "
                f"the log-ratio of a token is {ratio:.2f} nats in the mean over the responses "
                f"(limit `dpo.max_log_ratio` = {self._max_log_ratio}). Nothing was saved and the "
                "model it started from is unchanged. Lower dpo.learning_rate or raise dpo.beta; "
                "or raise the limit."
            )

    def _prepare_dataset(self, dataset: Dataset, *args: Any, **kwargs: Any) -> Dataset:
        """The rows as they are: they hold the very ids that sampling uses."""
        return dataset

    def _precompute_ref_logps(self, dataset: Dataset, *args: Any, **kwargs: Any) -> Dataset:
        """Each pair's reference log-probabilities, computed once; then the pairs as often as read.

        It is the first time that TRL reads pairs, so here is settled how.
        """
        if kept := self.unfinished.reference():
            return self._with_reference(dataset, kept).select(self._reading)
        rows = dataset.to_list()
        if shorter(rows, self.model.config.get_text_config(decoder=True).hidden_size):
            if reason := self._obstacle(rows):
                _log.info("%s: chosen and rejected do not share a row: %s.", self.label, reason)
            else:
                self._share()
        found = super()._precompute_ref_logps(dataset, *args, **kwargs)
        said = {name: torch.tensor(found[name][:], dtype=torch.float64) for name in _REFERENCE}
        # Reading the pairs has drawn random numbers.
        parts = {"said": said, "shares": self._shares, "random": random_states()}
        self.unfinished.keep_reference(parts)
        return found.select(self._reading)

    def _with_reference(self, dataset: Dataset, kept: Snapshot) -> Dataset:
        """The pairs with what the reference said, and all else as it was afterwards."""
        if kept["shares"]:
            self._share()
        put_random_states(kept["random"])
        said = {name: values.tolist() for name, values in kept["said"].items()}
        return concatenate_datasets([dataset, Dataset.from_dict(said)], axis=1)

    def _share(self) -> None:
        self.data_collator = PairCollator(self.data_collator.pad_token_id)
        self._shares = True

    def _obstacle(self, rows: list[dict[str, Any]]) -> str | None:
        if self.aux_loss_enabled:
            return "its experts' balance is measured on whole sequences"
        telling = max(rows, key=lambda row: len(row["chosen_ids"]))
        return obstacle(self.model, rows) or self._disagreement(telling)

    def _disagreement(self, row: dict[str, Any]) -> str | None:
        """Why this pair's log-probabilities are others in one row than in two; None if they agree.

        An architecture may overlook the positions or, as recurrent ones do, the mask: then the
        rejected response depends on the chosen one.
        """
        vocabulary = self.model.config.get_text_config(decoder=True).vocab_size
        other = {**row, "chosen_ids": [(one + 1) % vocabulary for one in row["chosen_ids"]]}
        apart = self._token_log_probs(row, shares=False)
        try:
            together = self._token_log_probs(row, shares=True)
            probed = self._token_log_probs(other, shares=True)
        except Exception as error:  # an architecture's own code may raise anything
            if is_out_of_memory(error):
                raise
            return f"the model refuses such a row ({type(error).__name__}: {error})"
        finally:
            self._shares = False
        rounded = self.args.bf16 or self.model.dtype != torch.float32
        leak = (probed - together)[len(row["chosen_ids"]) :].abs().max().item()
        if not leak <= _LEAK[rounded]:
            return f"other chosen ids change a rejected token's log-probability by {leak:.1e}"
        change = (together - apart).square().mean().sqrt().item()
        if not change <= _AGREEMENT[rounded]:
            return f"its log-probabilities change by {change:.1e} a token"
        return None

    def _token_log_probs(self, row: dict[str, Any], shares: bool) -> torch.Tensor:
        """The reference's log-probability of each chosen and then each rejected token."""
        model, plain = self.ref_model or self.model, self.data_collator
        collator = PairCollator(plain.pad_token_id) if shares else plain
        self._shares = shares
        reader = _Noting(self._reader(model.eval()))
        inputs = self._prepare_inputs(collator([row]))
        super().compute_ref_log_probs(reader, inputs)
        mask = inputs["completion_mask"][:, 1:].bool()
        return reader.found.log_probs[:, -mask.shape[1] :][mask].float()

    def compute_ref_log_probs(self, model: Any, inputs: Any) -> Any:
        """The reference's log-probabilities, without dropout, an adapter's too."""
        model.eval()
        return super().compute_ref_log_probs(self._reader(model), inputs)

    def compute_loss(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
        """The mean loss of the pairs; in training, their share of the step's mean."""
        reader = _Noting(self._reader(model))
        loss = super().compute_loss(reader, inputs, *args, **kwargs)
        if self._nll_weight:
            nll = _chosen_nll(reader.found.log_probs, inputs["completion_mask"])
            loss = loss + self._nll_weight * nll
        if not self.model.training:
            return loss
        self._log_ratios.append(_log_ratios(reader.found.log_probs.detach(), inputs, self.ld_alpha))
        weight = self._weight(len(inputs["input_ids"]) // 2)
        return loss if weight == 1 else loss * weight

    def _weight(self, pairs: int) -> float:
        """What makes a mean over micro-batches the mean over pairs: 1 unless the step is partial.

        The trainer weighs micro-batches alike, and the last one may hold fewer pairs.
        """
        micro = self.args.per_device_train_batch_size
        batch = micro * self.args.gradient_accumulation_steps
        left = len(self._reading) - self.state.global_step * batch
        step = min(batch, left)
        return pairs * math.ceil(step / micro) / step

    def _reader(self, model: Any) -> Any:
        scorer = _scorer(self, model)
        if not self._shares:
            return scorer
        config = self.model.config.get_text_config(decoder=True)
        return PairReader(scorer, config._attn_implementation)


@dataclass
class _Noting:
    """Calls a reader, and keeps what it found."""

    reader: Any
    found: Any = None

    def __call__(self, **inputs: Any) -> Any:
        self.found = self.reader(**inputs)
        return self.found


def _scorer(trainer: Any, model: Any) -> Any:
    """The model, on the CPU with a head that scores completions alone, as TRL's does on GPUs."""
    on_cpu = trainer.args.device.type == "cpu"
    return CompletionScorer(model) if on_cpu or lacks_backbone(trainer.model) else model


def expert_balance(config: Any) -> dict[str, float]:
    """TRL's argument for the loss that balances a mixture's experts.

    TRL measures it by the number of experts, which some architectures call by names of their own:
    those are trained without it.
    """
    text = config.get_text_config(decoder=True)
    asked = getattr(text, "router_aux_loss_coef", 0) and hasattr(text, "output_router_logits")
    known = hasattr(text, "num_experts") and hasattr(text, "num_experts_per_tok")
    return {"router_aux_loss_coef": 0.0} if asked and not known else {}


def _chosen_nll(log_probs: torch.Tensor, completion_mask: torch.Tensor) -> torch.Tensor:
    """Mean over the chosen responses, the first half of the rows, of the mean over their tokens.

    TRL's own term is a mean over a micro-batch's tokens, which hangs on the micro-batch's size.
    """
    mask = completion_mask[:, 1:].chunk(2)[0]
    chosen = log_probs[:, -mask.shape[1] :].chunk(2)[0]
    return -((chosen * mask).sum(1) / mask.sum(1)).mean()


def _log_ratios(
    log_probs: torch.Tensor, inputs: dict[str, torch.Tensor], ld_alpha: float | None
) -> torch.Tensor:
    """|log(policy / reference)| a token of each response, counted as the loss counts tokens."""
    mask = inputs["completion_mask"][:, 1:]
    counted = mask if ld_alpha is None else _discounted(mask, ld_alpha)
    policy = (log_probs[:, -mask.shape[1] :] * counted).sum(1)
    reference = torch.cat([inputs[name] for name in _REFERENCE])
    return ((policy - reference) / counted.sum(1)).abs()


def _discounted(mask: torch.Tensor, ld_alpha: float) -> torch.Tensor:
    """The mask, with `ld_alpha` where a response is longer than the other of its pair."""
    chosen, rejected = mask.sum(1).chunk(2)
    shared = torch.minimum(chosen, rejected).repeat(2)[:, None]
    return mask * torch.where(mask.cumsum(1) <= shared, 1.0, ld_alpha)


def dpo_objective(params: DpoParams) -> dict[str, Any]:
    """TRL's arguments for the loss; none for plain DPO.

    TRL 1.16 ignores `label_smoothing` in its sigmoid loss. The loss with smoothing e,
    -(1 - e) log s(d) - e log s(-d), is (1 + 2e) times plain DPO less 2e times robust DPO with
    smoothing 1/4, which is -1.5 log s(d) + 0.5 log s(-d).
    """
    chosen: dict[str, Any] = {}
    if params.length_normalised:
        chosen["loss_type"] = ["sigmoid_norm"]
    if params.ld_alpha is not None:
        chosen["ld_alpha"] = params.ld_alpha
    if smoothing := params.label_smoothing:
        chosen["loss_type"] = ["sigmoid", "robust"]
        chosen["loss_weights"] = [1 + 2 * smoothing, -2 * smoothing]
        chosen["label_smoothing"] = 0.25
    return chosen
