"""The losses of both trainers, and what DPO's follow-ups add to its own."""

from typing import Any

import torch
from datasets import Dataset
from trl import DPOTrainer, SFTTrainer

from srlm_kedro.engines.training.base import DpoParams
from srlm_kedro.engines.training.loop import Guarded


class GuardedSft(Guarded, SFTTrainer):
    """SFT. Paper: section 3.1, loss on the target tokens only."""


class GuardedDpo(Guarded, DPOTrainer):
    """DPO, with the chosen response's negative log-likelihood if it has a weight."""

    def __init__(self, *args: Any, nll_weight: float = 0.0, **kwargs: Any):
        """As TRL's, and `nll_weight` as in `DpoParams`."""
        self._nll_weight = nll_weight
        super().__init__(*args, **kwargs)

    def _prepare_dataset(self, dataset: Dataset, *args: Any, **kwargs: Any) -> Dataset:
        """The rows as they are: they hold the very ids that sampling uses."""
        return dataset

    def compute_ref_log_probs(self, model: Any, inputs: Any) -> Any:
        """The reference's log-probabilities, without dropout, an adapter's too."""
        model.eval()
        return super().compute_ref_log_probs(model, inputs)

    def compute_loss(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
        """The mean loss of the pairs."""
        if not self._nll_weight:
            return super().compute_loss(model, inputs, *args, **kwargs)
        seen: list[Any] = []

        def noted(**inputs_of_model: Any) -> Any:
            seen.append(model(**inputs_of_model))
            return seen[-1]

        loss = super().compute_loss(noted, inputs, *args, **kwargs)
        nll = _chosen_nll(seen[0].log_probs, inputs["completion_mask"])
        return loss + self._nll_weight * nll


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
