"""The losses: their arguments for TRL, and the terms that TRL's trainers lack."""

from typing import Any

import torch

from srlm_kedro.engines.training.params import DpoParams

REFERENCE = ("ref_chosen_logps", "ref_rejected_logps")
"""TRL's names for the reference's log-probabilities of a pair."""


def without_router_loss(config: Any) -> dict[str, float]:
    """TRL's argument that turns off the router loss where TRL cannot compute it; else empty.

    The router loss balances the experts of a mixture. TRL needs the number of experts for it, and
    some architectures have another name for that number.
    """
    text = config.get_text_config(decoder=True)
    asked = getattr(text, "router_aux_loss_coef", 0) and hasattr(text, "output_router_logits")
    known = hasattr(text, "num_experts") and hasattr(text, "num_experts_per_tok")
    return {"router_aux_loss_coef": 0.0} if asked and not known else {}


def chosen_nll(log_probs: torch.Tensor, completion_mask: torch.Tensor) -> torch.Tensor:
    """The chosen responses' negative log-likelihood: the mean over responses of the token means.

    The chosen responses are the first half of the rows. TRL's own term is a mean over all tokens of
    a micro-batch, so it depends on the size of the micro-batch.
    """
    mask = completion_mask[:, 1:].chunk(2)[0]
    chosen = log_probs[:, -mask.shape[1] :].chunk(2)[0]
    return -((chosen * mask).sum(1) / mask.sum(1)).mean()


def log_ratios(
    log_probs: torch.Tensor, inputs: dict[str, torch.Tensor], ld_alpha: float | None
) -> torch.Tensor:
    """|log(policy / reference)| per token for each response, with the loss's token weights."""
    mask = inputs["completion_mask"][:, 1:]
    counted = mask if ld_alpha is None else _weighted_mask(mask, ld_alpha)
    policy = (log_probs[:, -mask.shape[1] :] * counted).sum(1)
    reference = torch.cat([inputs[name] for name in REFERENCE])
    return ((policy - reference) / counted.sum(1)).abs()


def _weighted_mask(mask: torch.Tensor, ld_alpha: float) -> torch.Tensor:
    """The mask, with `ld_alpha` for tokens beyond the length of the pair's other response."""
    chosen, rejected = mask.sum(1).chunk(2)
    shared = torch.minimum(chosen, rejected).repeat(2)[:, None]
    return mask * torch.where(mask.cumsum(1) <= shared, 1.0, ld_alpha)


def dpo_objective(params: DpoParams) -> dict[str, Any]:
    """TRL's arguments for the loss; empty for plain DPO.

    TRL 1.16 ignores `label_smoothing` in its sigmoid loss. The loss with smoothing e is
    -(1 - e) log s(d) - e log s(-d). It equals (1 + 2e) times plain DPO minus 2e times robust DPO
    with smoothing 1/4, which is -1.5 log s(d) + 0.5 log s(-d).
    """
    arguments: dict[str, Any] = {}
    if params.length_normalised:
        arguments["loss_type"] = ["sigmoid_norm"]
    if params.ld_alpha is not None:
        arguments["ld_alpha"] = params.ld_alpha
    if smoothing := params.label_smoothing:
        arguments["loss_type"] = ["sigmoid", "robust"]
        arguments["loss_weights"] = [1 + 2 * smoothing, -2 * smoothing]
        arguments["label_smoothing"] = 0.25
    return arguments
