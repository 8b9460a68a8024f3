"""Log-probabilities of completions, without the work of scoring tokens that have no loss."""

from collections.abc import Iterator
from typing import Any

import torch
from torch.nn.functional import pad
from trl.trainer.utils import FusedCausalLMOutput

from srlm_kedro.engines.training.trl.token_rows import IGNORED

_MOST_LOGITS = 2**28
"""The most logits in memory (1 GiB in float32). More are left to TRL's head, which uses tiles."""
_GROUP_TOKENS = 512
"""Tokens per group on a CPU: enough for its matrix products, and few enough for its caches."""


def lacks_backbone(model: Any) -> bool:
    """Whether an architecture has no backbone apart from its head; TRL's own head needs one."""
    whole = model.get_base_model() if hasattr(model, "get_base_model") else model
    return getattr(whole, "base_model", None) is whole


class CompletionScorer:
    """Sends only completions through the output layer. TRL's trainers call it like a model.

    Without Triton, TRL sends every position through the output layer, prompts and padding too, and
    again on the way back. Here the model's own code computes only the needed logits. The rows are
    computed in small groups: neighbours have similar lengths, so a group has little padding.
    """

    def __init__(self, model: Any):
        """`model` is the model that the trainer would call."""
        self._model = model
        inner = getattr(model, "module", model)
        inner = inner.get_base_model() if hasattr(inner, "get_base_model") else inner
        self._head = inner.get_output_embeddings()
        self._vocabulary = self._head.weight.shape[0]

    def __call__(self, **asked: Any) -> FusedCausalLMOutput:
        """The same as TRL's head: each label's log-probability, zero where it is `IGNORED`.

        Args:
            asked: The model's inputs, and either `labels`, the token ids [rows, length], each
                predicted one position earlier, or `shift_labels`, the ids that each position
                predicts.
        """
        added = ("labels", "shift_labels", "fused_lm_head")
        inputs = {name: value for name, value in asked.items() if name not in added}
        targets = asked.get("shift_labels")
        columns = None
        if targets is None:
            targets, columns = pad(asked["labels"][:, 1:], (0, 1), value=IGNORED), -1
        too_many = _held_at_once(targets) * self._vocabulary > _MOST_LOGITS
        if too_many or inputs.get("output_router_logits"):
            return self._model(**asked)
        groups = []
        for group in _groups(targets, inputs):
            if (fields := self._score(*group)) is None:
                return self._model(**asked)
            groups.append(fields)
        found = {name: _stacked([one[name] for one in groups], targets) for name in groups[0]}
        return FusedCausalLMOutput(**{name: values[:, :columns] for name, values in found.items()})

    def _score(
        self, targets: torch.Tensor, inputs: dict[str, Any]
    ) -> dict[str, torch.Tensor] | None:
        """TRL's fields for a few rows, [rows, length]; None if the head is not called as expected.

        The input of the output layer is cut to the scored positions. If the model scales or caps
        its logits afterwards, it does so here as well.
        """
        scored = targets != IGNORED
        calls = []

        def cut(module: Any, arguments: tuple[Any, ...]) -> Any:
            hidden = arguments[0] if arguments else None
            calls.append(hidden is not None and hidden.shape[:-1] == scored.shape)
            return (hidden[scored][None], *arguments[1:]) if calls[-1] else None

        hook = self._head.register_forward_pre_hook(cut)
        try:
            logits = self._model(**inputs).logits[0]
        finally:
            hook.remove()
        if calls != [True] or len(logits) != int(scored.sum()):
            return None
        placed = {
            name: values.new_zeros(scored.shape).masked_scatter(scored, values)
            for name, values in _target_fields(logits.float(), targets[scored]).items()
        }
        return {**placed, "label_mask": scored}


def _held_at_once(targets: torch.Tensor) -> int:
    """The most scored positions whose logits are in memory together.

    In training all of a micro-batch are, until the way back. Otherwise a group's are freed before
    the next group.
    """
    scored = (targets != IGNORED).sum(1)
    return int(scored.sum() if torch.is_grad_enabled() else scored.amax().clamp(min=_GROUP_TOKENS))


def _groups(
    targets: torch.Tensor, inputs: dict[str, Any]
) -> Iterator[tuple[torch.Tensor, dict[str, Any]]]:
    """Small groups of rows, without the columns after their last target."""
    places = torch.arange(1, targets.shape[1] + 1, device=targets.device)
    lengths = ((targets != IGNORED) * places).amax(1).clamp(min=1).tolist()
    start = 0
    while start < len(lengths):
        end = start + max(1, _GROUP_TOKENS // lengths[start])
        rows, columns = slice(start, end), slice(max(lengths[start:end]))
        cut = {
            name: _cut(value, rows, columns) if isinstance(value, torch.Tensor) else value
            for name, value in inputs.items()
        }
        yield targets[rows, columns], cut
        start = end


def _cut(value: torch.Tensor, rows: slice, columns: slice) -> torch.Tensor:
    """The part of some rows and columns: of [rows, length], or of [rows, 1, length, length]."""
    return value[rows, columns] if value.dim() == 2 else value[rows, :, columns, columns]


def _target_fields(logits: torch.Tensor, targets: torch.Tensor) -> dict[str, torch.Tensor]:
    """The targets' log-probabilities and, in training, the other values that TRL logs."""
    log_probs = logits.log_softmax(-1)
    target_log_probs = log_probs.gather(1, targets[:, None])[:, 0]
    if not torch.is_grad_enabled():
        return {"log_probs": target_log_probs}
    with torch.no_grad():
        return {
            "log_probs": target_log_probs,
            "entropy": -(log_probs.exp() * log_probs).sum(-1),
            "mean_logits": logits.mean(-1),
            "is_top1": target_log_probs >= log_probs.amax(-1),
        }


def _stacked(groups: list[torch.Tensor], like: torch.Tensor) -> torch.Tensor:
    """The rows of all groups in one tensor, padded to the width of `like`."""
    return torch.cat([pad(one, (0, like.shape[1] - one.shape[1])) for one in groups])
