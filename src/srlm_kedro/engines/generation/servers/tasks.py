"""The fields of calls to an OpenAI-compatible server, and the keys of their answers on disk."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from srlm_kedro.engines.generation.base import Request, Sampling
from srlm_kedro.engines.generation.servers.endpoint import Reader
from srlm_kedro.engines.generation.servers.replies import read_reply
from srlm_kedro.freshness.digests import json_digest
from srlm_kedro.records import derive_seed


@dataclass(frozen=True)
class Target:
    """Everything about a call that depends neither on its request nor on what is asked for."""

    url: str
    """Of the first server, by which the journal knows them all."""
    name: str
    state: list[Any]
    """By it a model differs from an earlier one of the same name."""
    tokens_field: str
    extra: dict[str, Any]

    def path(self, request: Request) -> str:
        """Where the server takes such a request."""
        return "/chat/completions" if request.chat else "/completions"

    def key(self, request: Request, body: dict[str, Any], **more: Any) -> str:
        """The key of an answer in the journal."""
        parts = {"url": self.url, "mark": self.state, "id": request.id, "body": body}
        return json_digest({**parts, **more}, str)

    def text(self, request: Request) -> dict[str, Any]:
        """The field of what is to be answered or continued."""
        return {"messages": request.messages} if request.chat else {"prompt": request.prompt}

    def limit(self, request: Request, tokens: int) -> dict[str, int]:
        """The field of the longest completion."""
        return {self.tokens_field if request.chat else "max_tokens": tokens}


@dataclass(frozen=True)
class SampleTask:
    """Completions of a target's model."""

    target: Target
    sampling: Sampling
    seed: int
    together: bool
    """Whether one call asks for all samples of a request."""

    def body(self, request: Request, samples: Sequence[int]) -> dict[str, Any]:
        """The fields of a call for these samples; more samples do not change the fields of fewer.

        A chat gets no stop strings. Servers would find them in thoughts too, and it is not known
        whether a chat will hold thoughts. So `read_reply` cuts the answer.
        """
        sampling, target = self.sampling, self.target
        several = {"n": len(samples)} if len(samples) > 1 else {}
        return {
            "model": target.name,
            **target.text(request),
            **several,
            "seed": self._seed(request, samples[0]),
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            **target.limit(request, sampling.max_new_tokens),
            **({"stop": list(sampling.stop)} if sampling.stop and not request.chat else {}),
            **target.extra,
        }

    def reader(self, samples: Sequence[int]) -> Reader:
        """What makes completions of an answer to a call for these samples."""
        return partial(read_reply, asked=len(samples), sampling=self.sampling)

    def key(self, request: Request, sample: int) -> str:
        """The key of one completion in the journal."""
        return self.target.key(request, self.body(request, [sample]), together=self.together)

    def _seed(self, request: Request, sample: int) -> int:
        """A seed of 31 bits: many servers take no larger one."""
        greedy = self.sampling.temperature == 0
        return 0 if greedy else derive_seed(self.seed, request.id, str(sample)) >> 32


@dataclass(frozen=True)
class TopTask:
    """The most probable first tokens of a target's model."""

    target: Target
    count: int
    """How many the server names."""

    def body(self, request: Request) -> dict[str, Any]:
        """The fields of a call: they ask for one token, which is not looked at."""
        chat = {"logprobs": True, "top_logprobs": self.count}
        return {
            "model": self.target.name,
            **self.target.text(request),
            "seed": 0,
            "temperature": 1.0,
            "top_p": 1.0,
            **self.target.limit(request, 1),
            **(chat if request.chat else {"logprobs": self.count}),
            **self.target.extra,
        }

    def key(self, request: Request) -> str:
        """The key of an answer in the journal."""
        return self.target.key(request, self.body(request))
