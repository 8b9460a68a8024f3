"""lm-eval's class around a model, for models that think before they answer."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM

from srlm_kedro.engines import chat, thoughts
from srlm_kedro.engines.generation.base import text_before
from srlm_kedro.engines.generation.completions import decode


class AnsweringLM(HFLM):
    """Gives tasks the answers without the thoughts, and scores choices where an answer begins.

    A task's stop strings apply only to the answer, so in a chat the model can finish its thought.
    """

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> list[str]:
        """The answer to each request, cut at the task's stop strings."""
        chats = self._chats(requests)
        asked = [
            replace(one, arguments=(one.args[0], {**one.args[1], "until": []})) if is_chat else one
            for one, is_chat in zip(requests, chats, strict=True)
        ]
        drawn = super().generate_until(asked, disable_tqdm=disable_tqdm)
        opened = chat.opened_thought(self.tokenizer)
        return [
            self._answer(f"{opened}{text}" if is_chat else text, one.args[1].get("until"))
            for one, text, is_chat in zip(requests, drawn, chats, strict=True)
        ]

    def loglikelihood(
        self, requests: list[Instance], disable_tqdm: bool = False
    ) -> list[tuple[float, bool]]:
        """The log-likelihood of each continuation as an answer, and whether it is the likeliest."""
        opening = chat.answer_opening(self.tokenizer)
        asked = [
            replace(one, arguments=(f"{one.args[0]}{opening}", *one.args[1:])) if is_chat else one
            for one, is_chat in zip(requests, self._chats(requests), strict=True)
        ]
        return super().loglikelihood(asked, disable_tqdm=disable_tqdm)

    def tok_decode(self, tokens: Any, skip_special_tokens: bool = True) -> str:
        """The text of the tokens. The marks around thoughts stay, unlike other special tokens."""
        if skip_special_tokens and isinstance(tokens, Sequence):
            return decode(self.tokenizer, tokens)
        return super().tok_decode(tokens, skip_special_tokens)

    def _chats(self, requests: Sequence[Instance]) -> list[bool]:
        """Whether each context ends where a completion begins in the chat template."""
        start = chat.completion_start(self.tokenizer)
        return [one.args[0].endswith(start) for one in requests]

    def _answer(self, text: str, until: str | Sequence[str] | None) -> str:
        """The answer in a text. It may have been cut, so a thought without an end has no answer."""
        stop = [until] if isinstance(until, str) else until or ()
        return text_before([one for one in stop if one], thoughts.split(text, cut=True)[1])
