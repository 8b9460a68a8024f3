"""lm-eval's class around a model, for one that thinks before it answers."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM

from srlm_kedro.engines import chat, thoughts
from srlm_kedro.engines.generation.base import text_before
from srlm_kedro.engines.generation.completions import decode


class AnsweringLM(HFLM):
    """Tasks are given answers without thoughts, and choices are scored where an answer begins.

    A task's stop strings end answers alone: in a chat the model is let to think to the end.
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
        """Of each continuation, as an answer."""
        opening = chat.answer_opening(self.tokenizer)
        asked = [
            replace(one, arguments=(f"{one.args[0]}{opening}", *one.args[1:])) if is_chat else one
            for one, is_chat in zip(requests, self._chats(requests), strict=True)
        ]
        return super().loglikelihood(asked, disable_tqdm=disable_tqdm)

    def tok_decode(self, tokens: Any, skip_special_tokens: bool = True) -> str:
        """The tokens' text; marks of thoughts are no special tokens to be skipped."""
        if skip_special_tokens and isinstance(tokens, Sequence):
            return decode(self.tokenizer, tokens)
        return super().tok_decode(tokens, skip_special_tokens)

    def _chats(self, requests: Sequence[Instance]) -> list[bool]:
        """Whether each context ends where the chat template lets a completion begin."""
        start = chat.completion_start(self.tokenizer)
        return [one.args[0].endswith(start) for one in requests]

    def _answer(self, text: str, until: str | Sequence[str] | None) -> str:
        """Nobody says whether the text was cut; an unclear end of a thought is none."""
        stop = [until] if isinstance(until, str) else until or ()
        return text_before([one for one in stop if one], thoughts.split(text, cut=True)[1])
