"""Calls of a server that takes and gives token ids: completions, and log-probabilities."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, Field, ValidationError

from srlm_kedro.engines import thoughts
from srlm_kedro.engines.generation.base import Sampling
from srlm_kedro.engines.generation.choices import log_of_sum
from srlm_kedro.engines.generation.completions import read_completion
from srlm_kedro.engines.generation.servers.replies import Failure, Reply, Usage, spent


@dataclass(frozen=True)
class Task:
    """One completion to sample."""

    prompt: list[int]
    opened: str
    """The thought in which it begins."""
    chat: bool
    seed: int


@dataclass(frozen=True)
class TokenCalls:
    """The fields of calls for one model, and what its answers mean."""

    name: str
    """Of the model on the server."""
    tokenizer: Any
    ends: tuple[int, ...]
    """Every token that ends a completion."""

    def sample(self, task: Task, sampling: Sampling) -> dict[str, Any]:
        """The fields of a call for one completion.

        A server would find stop strings in thoughts too. So a chat gets none if the model's
        template knows thoughts: it is sampled to its end, and its answer is cut here.
        """
        thinks = task.chat and thoughts.has_marks(str(self.tokenizer.chat_template))
        return {
            "model": self.name,
            "prompt": task.prompt,
            "seed": task.seed,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "max_tokens": sampling.max_new_tokens,
            "min_tokens": sampling.min_new_tokens,
            "stop_token_ids": list(self.ends),
            "stop": [] if thinks else [*sampling.stop],
            "return_token_ids": True,
        }

    def completion(self, data: Any, task: Task, sampling: Sampling) -> Reply | Failure:
        """The completion in an answer."""
        try:
            body = _Sampled.model_validate(data)
        except ValidationError as error:
            return _malformed(error, data)
        (choice,), used = body.choices, body.usage
        stopped = choice.finish_reason == "stop"
        found = read_completion(
            self.tokenizer, choice.token_ids, stopped, sampling.stop, task.opened
        )
        return Reply((found,), used.prompt_tokens, used.completion_tokens)

    def choices(self, prompt: list[int], tokens: Sequence[Sequence[int]]) -> dict[str, Any]:
        """The fields of a call for the log-probabilities of groups of tokens."""
        return {
            "model": self.name,
            "prompt": prompt,
            "seed": 0,
            "temperature": 1.0,
            "top_p": 1.0,
            "max_tokens": 1,
            "logprobs": 1,
            "logprob_token_ids": [token for group in tokens for token in group],
            "return_tokens_as_token_ids": True,
        }

    def named(self, data: Any, tokens: Sequence[Sequence[int]]) -> Reply | Failure:
        """The log-probabilities in an answer, each beside the name of its token."""
        try:
            body = _Read.model_validate(data)
        except ValidationError as error:
            return _malformed(error, data)
        found, used = body.choices[0].logprobs.top_logprobs[0], body.usage
        names = [_name(token) for group in tokens for token in group]
        if missing := [name for name in names if name not in found]:
            why = f"the answer names no log-probability of {', '.join(missing)}"
            return Failure(why, again=False, spent=spent(data))
        top = tuple((name, found[name]) for name in names)
        return Reply((), used.prompt_tokens, used.completion_tokens, top)

    def choice_row(self, reply: Reply, tokens: Sequence[Sequence[int]]) -> list[float]:
        """The log-probability of each group of tokens as the next one."""
        found = dict(reply.top)
        return [log_of_sum([found[_name(token)] for token in group]) for group in tokens]


def _name(token: int) -> str:
    """What vLLM calls a token if it is asked to give no text."""
    return f"token_id:{token}"


class _Choice(BaseModel):
    finish_reason: str
    token_ids: list[int]


class _Sampled(BaseModel):
    choices: Annotated[list[_Choice], Field(min_length=1, max_length=1)]
    usage: Usage


class _Logprobs(BaseModel):
    top_logprobs: Annotated[list[dict[str, float]], Field(min_length=1)]


class _ReadChoice(BaseModel):
    logprobs: _Logprobs


class _Read(BaseModel):
    choices: Annotated[list[_ReadChoice], Field(min_length=1)]
    usage: Usage


def _malformed(error: ValidationError, data: Any) -> Failure:
    first = error.errors(include_url=False)[0]
    where = ".".join(map(str, first["loc"])) or "the answer"
    why = f"the answer is malformed ({where}: {first['msg']})"
    return Failure(why, again=True, spent=spent(data))
