"""Log-probabilities of completions, without the work of scoring what no loss falls on."""

from collections.abc import Iterator
from typing import Any

import torch
from torch.nn.functional import pad
from trl.trainer.utils import FusedCausalLMOutput

from srlm_kedro.engines.training.trl.token_rows import IGNORED

_MOST_LOGITS = 2**28
"""Logits held at once (1 GiB in float32); TRL's own head, which works in tiles, takes more."""
_GROUP = 512
"""Tokens that a CPU computes at once: enough for its matrix products, few enough for its caches."""


def lacks_backbone(model: Any) -> bool:
    """Whether an architecture names none beside its head, which TRL's own head asks for."""
    whole = model.get_base_model() if hasattr(model, "get_base_model") else model
    return getattr(whole, "base_model", None) is whole


class CompletionScorer:
    """Called as TRL's trainers call a model; completions alone pass through its output layer.

    Without Triton, TRL sends every position through the output layer, prompts and padding too,
    and once more on the way back. Here the model's own code makes the logits that are needed, and
    rows are computed a few at a time: neighbours are of like length, so little of it is padding.
    """

    def __init__(self, model: Any):
        """`model` is what the trainer was about to call."""
        self._model = model
        inner = getattr(model, "module", model)
        inner = inner.get_base_model() if hasattr(inner, "get_base_model") else inner
        self._head = inner.get_output_embeddings()
        self._vocabulary = self._head.weight.shape[0]

    def __call__(self, **asked: Any) -> FusedCausalLMOutput:
        """What TRL's head gives: each label's log-probability, zero where it is `IGNORED`.

        Args:
            asked: The model's inputs, and `labels`, token ids [rows, length] that are predicted
                one position earlier; or `shift_labels`, the ids that each position predicts.
        """
        added = ("labels", "shift_labels", "fused_lm_head")
        inputs = {name: value for name, value in asked.items() if name not in added}
        targets = asked.get("shift_labels")
        columns = None
        if targets is None:
            targets, columns = pad(asked["labels"][:, 1:], (0, 1), value=IGNORED), -1
        logits = int((targets != IGNORED).sum()) * self._vocabulary
        if logits > _MOST_LOGITS or inputs.get("output_router_logits"):
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

        What the output layer is given is cut to the scored positions. What a model does to its
        logits afterwards, scaling or capping, it does to theirs.
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
            for name, values in _read(logits.float(), targets[scored]).items()
        }
        return {**placed, "label_mask": scored}


def _groups(
    targets: torch.Tensor, inputs: dict[str, Any]
) -> Iterator[tuple[torch.Tensor, dict[str, Any]]]:
    """A few rows at a time, without the columns behind their last target."""
    places = torch.arange(1, targets.shape[1] + 1, device=targets.device)
    lengths = ((targets != IGNORED) * places).amax(1).clamp(min=1).tolist()
    start = 0
    while start < len(lengths):
        end = start + max(1, _GROUP // lengths[start])
        rows, columns = slice(start, end), slice(max(lengths[start:end]))
        cut = {
            name: _cut(value, rows, columns) if isinstance(value, torch.Tensor) else value
            for name, value in inputs.items()
        }
        yield targets[rows, columns], cut
        start = end


def _cut(value: torch.Tensor, rows: slice, columns: slice) -> torch.Tensor:
    """The rows' part: of [rows, length], or of a mask [rows, 1, length, length]."""
    return value[rows, columns] if value.dim() == 2 else value[rows, :, columns, columns]


def _read(logits: torch.Tensor, targets: torch.Tensor) -> dict[str, torch.Tensor]:
    """The targets' log-probabilities and, in training, what TRL logs beside them."""
    log_probs = logits.log_softmax(-1)
    own = log_probs.gather(1, targets[:, None])[:, 0]
    if not torch.is_grad_enabled():
        return {"log_probs": own}
    with torch.no_grad():
        return {
            "log_probs": own,
            "entropy": -(log_probs.exp() * log_probs).sum(-1),
            "mean_logits": logits.mean(-1),
            "is_top1": own >= log_probs.amax(-1),
        }


def _stacked(groups: list[torch.Tensor], like: torch.Tensor) -> torch.Tensor:
    """The groups' rows one below the other, as wide as `like`."""
    return torch.cat([pad(one, (0, like.shape[1] - one.shape[1])) for one in groups])
