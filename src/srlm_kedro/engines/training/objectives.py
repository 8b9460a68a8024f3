"""The losses of both trainers, and what DPO's follow-ups add to its own."""

import logging
from collections.abc import Sequence
from typing import Any

import torch
from datasets import Dataset
from trl import DPOTrainer, SFTTrainer

from srlm_kedro.engines.training.base import DpoParams
from srlm_kedro.engines.training.loop import Guarded
from srlm_kedro.engines.training.pairs import PairCollator, PairReader, obstacle, shorter
from srlm_kedro.engines.training.scoring import CompletionScorer

_log = logging.getLogger(__name__)
_AGREEMENT = {False: 1e-4, True: 2e-2}
"""Largest difference a token between both ways to read a pair, by whether bfloat16 rounds it."""


class GuardedSft(Guarded, SFTTrainer):
    """SFT. Paper: section 3.1, loss on the target tokens only."""

    def compute_loss(self, model: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
        """TRL's loss, from the completions' log-probabilities alone."""
        return super().compute_loss(_scorer(self, model), *args, **kwargs)


class GuardedDpo(Guarded, DPOTrainer):
    """DPO, with the chosen response's negative log-likelihood if it has a weight.

    Both responses of a pair share a row where the model allows it and that is less work. With
    dropout they then share its random mask on the prompt: the same in law for each response.
    """

    def __init__(self, *args: Any, reading: Sequence[int], nll_weight: float = 0.0, **kwargs: Any):
        """As TRL's, `nll_weight` as in `DpoParams`, and the order of reading the pairs."""
        self._nll_weight = nll_weight
        self._reading = reading
        self._shares = False
        super().__init__(*args, **kwargs)

    def _prepare_dataset(self, dataset: Dataset, *args: Any, **kwargs: Any) -> Dataset:
        """The rows as they are: they hold the very ids that sampling uses."""
        return dataset

    def _precompute_ref_logps(self, dataset: Dataset, *args: Any, **kwargs: Any) -> Dataset:
        """Each pair's reference log-probabilities, computed once; then the pairs as often as read.

        It is the first time that TRL reads pairs, so here is settled how.
        """
        rows = dataset.to_list()
        if shorter(rows, self.model.config.get_text_config(decoder=True).hidden_size):
            if reason := self._obstacle(rows):
                _log.info("%s: chosen and rejected do not share a row: %s.", self.label, reason)
            else:
                self.data_collator = PairCollator(self.data_collator.pad_token_id)
                self._shares = True
        return super()._precompute_ref_logps(dataset, *args, **kwargs).select(self._reading)

    def _obstacle(self, rows: list[dict[str, Any]]) -> str | None:
        if self.aux_loss_enabled:
            return "its experts' balance is measured on whole sequences"
        return obstacle(self.model, rows) or self._disagreement(rows[0])

    def _disagreement(self, row: dict[str, Any]) -> str | None:
        """Why this pair's log-probabilities are others in one row than in two; None if they agree.

        An architecture may overlook the mask or the positions.
        """
        model, plain = self.ref_model or self.model, self.data_collator
        ways = []
        try:
            for shares, collator in ((False, plain), (True, PairCollator(plain.pad_token_id))):
                self._shares = shares
                inputs = self._prepare_inputs(collator([row]))
                ways.append(torch.cat(self.compute_ref_log_probs(model, inputs)))
        except (TypeError, ValueError, RuntimeError) as error:
            return f"the model refuses such a row ({type(error).__name__}: {error})"
        finally:
            self._shares = False
        counts = torch.tensor([len(row["chosen_ids"]), len(row["rejected_ids"])])
        found = ((ways[0] - ways[1]).cpu().abs() / counts).max().item()
        rounded = self.args.bf16 or self.model.dtype != torch.float32
        if found <= _AGREEMENT[rounded]:
            return None
        return f"its log-probabilities change by {found:.1e} a token"

    def compute_ref_log_probs(self, model: Any, inputs: Any) -> Any:
        """The reference's log-probabilities, without dropout, an adapter's too."""
        model.eval()
        return super().compute_ref_log_probs(self._reader(model), inputs)

    def compute_loss(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
        """The mean loss of the pairs."""
        reader, seen = self._reader(model), []

        def noted(**inputs_of_model: Any) -> Any:
            seen.append(reader(**inputs_of_model))
            return seen[-1]

        loss = super().compute_loss(noted, inputs, *args, **kwargs)
        if not self._nll_weight:
            return loss
        nll = _chosen_nll(seen[0].log_probs, inputs["completion_mask"])
        return loss + self._nll_weight * nll

    def _reader(self, model: Any) -> Any:
        scorer = _scorer(self, model)
        if not self._shares:
            return scorer
        config = self.model.config.get_text_config(decoder=True)
        return PairReader(scorer, config._attn_implementation)


def _scorer(trainer: Any, model: Any) -> Any:
    """The model, on the CPU with a head that scores completions alone, as TRL's does on GPUs."""
    return CompletionScorer(model) if trainer.args.device.type == "cpu" else model


def _chosen_nll(log_probs: torch.Tensor, completion_mask: torch.Tensor) -> torch.Tensor:
    """Mean over the chosen responses, the first half of the rows, of the mean over their tokens.

    TRL's own term is a mean over a micro-batch's tokens, which hangs on the micro-batch's size.
    """
    mask = completion_mask[:, 1:].chunk(2)[0]
    chosen = log_probs[:, -mask.shape[1] :].chunk(2)[0]
    return -((chosen * mask).sum(1) / mask.sum(1)).mean()


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
