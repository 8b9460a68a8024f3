"""What a model writes for one prompt at a time, to compare batches with."""

import itertools
from collections.abc import Sequence

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from srlm_kedro.engines.generation.base import Completion
from srlm_kedro.records import Checkpoint
from tests.engines.rendering import render

_CLEAR = 1e-3
"""Gap between the two largest logits that rounding does not close."""


class Unbatched:
    """A checkpoint that writes one text at a time."""

    def __init__(self, checkpoint: Checkpoint):
        """Loads it."""
        self._model = AutoModelForCausalLM.from_pretrained(checkpoint.path).eval()
        self._tokenizer = AutoTokenizer.from_pretrained(checkpoint.path)

    def written(self, prompt: str, count: int) -> tuple[list[int], list[float]]:
        """What `generate` writes greedily, and each step's gap between the top two logits."""
        ids = torch.tensor([render(self._tokenizer, prompt)])
        out = self._model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=count,
            do_sample=False,
            forced_eos_token_id=None,  # some families end every text at the limit
            output_logits=True,
            return_dict_in_generate=True,
        )
        gaps = [(top := logits[0].topk(2).values)[0] - top[1] for logits in out.logits]
        return out.sequences[0, ids.shape[1] :].tolist(), [float(gap) for gap in gaps]

    def compared(self, prompt: str, count: int, drawn: Sequence[Completion]) -> int:
        """Tokens that were compared, all of them alike.

        Args:
            prompt: One user turn.
            count: Most new tokens.
            drawn: Greedy completions of it.

        Raises:
            AssertionError: One is another text where the most probable token is clear.
        """
        expected, gaps = self.written(prompt, count)
        steps = zip(expected, gaps, strict=True)
        clear = [token for token, _ in itertools.takewhile(lambda step: step[1] > _CLEAR, steps)]
        text = self._tokenizer.decode(clear, skip_special_tokens=True)
        for one in drawn:
            assert one.text.startswith(text), f"{one.text!r} is not {text!r}"
            if len(clear) == len(expected):
                assert (one.text, one.tokens) == (text, len(expected))
        return len(clear) * len(drawn)
