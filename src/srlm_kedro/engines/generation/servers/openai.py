"""Sampling from OpenAI-compatible servers: a hosted model, or `vllm serve` next door."""

import asyncio
from collections.abc import Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from srlm_kedro.display.progress import Progress
from srlm_kedro.engines.generation.base import Completion, Request, Sampling
from srlm_kedro.engines.generation.journal import Journal, weights_mark
from srlm_kedro.engines.generation.servers.calls import Caller
from srlm_kedro.errors import InputError, summary
from srlm_kedro.freshness.files import json_digest
from srlm_kedro.params import Retries, Seconds
from srlm_kedro.records import Checkpoint, derive_seed

_Place = tuple[int, int]
"""A request's place among the requests, and the number of its sample."""


class OpenAIEngine:
    """Draws completions from a server, or several of one model, that speak the OpenAI protocol.

    Each sample is asked for with a seed of its own, from the seed, the request and the sample's
    number. How far a server keeps to seeds is its own affair: vLLM does up to floating-point
    noise, hosted models do not promise it. Greedy completions are asked for once a request.

    A call goes to the server with the fewest calls under way. One that fails rests, longer each
    time until it answers, and its calls go on elsewhere.
    """

    def __init__(
        self,
        base_url: str | list[str],
        model: str | None = None,
        samples_per_call: Literal["one", "all"] = "one",
        max_tokens_field: Literal["max_tokens", "max_completion_tokens"] = "max_tokens",
        min_tokens: bool = False,
        extra_body: dict[str, Any] | None = None,
        budget: Annotated[int, Field(ge=1, le=10**15)] | None = None,
        journal: str | None = None,
        concurrency: Annotated[int, Field(ge=1, le=10_000)] = 16,
        retries: Retries = 6,
        backoff: Annotated[float, Field(ge=0, le=3600)] = 1.0,
        timeout: Seconds = 300.0,
        credentials: dict[str, str] | None = None,
    ):
        """Names the server and how it is asked.

        Args:
            base_url: Where it answers; most end in `/v1`. A list names several servers of the
                same model. In the journal the first stands for all: keep it when adding others.
            model: The model's name on the server; None takes the checkpoint's (`m1`).
            samples_per_call: `one`: a call a sample, so that raising n keeps earlier samples;
                `all`: one call a request, for servers that bill the prompt with each call. Tokens
                of several choices come from the server as one sum and are shared out.
            max_tokens_field: How the server calls the longest completion of a chat.
            min_tokens: Whether the server knows `min_tokens` (vLLM does).
            extra_body: Further fields of each call, as `{top_k: 20}`. Arguments of the chat
                template, its date too, are the server's affair: vLLM and SGLang take
                `{chat_template_kwargs: {enable_thinking: false}}`.
            budget: Most tokens, prompts included, that may be spent in a run. It is checked
                before each call: those under way may go beyond it.
            journal: A folder in which completions are kept as they arrive; a rerun asks only
                for what is missing.
            concurrency: Calls under way at once, at all servers together.
            retries: Further tries of a call after 429, 5xx, no connection, no or a malformed
                answer. A first try at each other server comes on top.
            backoff: Seconds before the first retry, and of a server's first rest; they double up
                to a minute. A server's Retry-After goes first.
            timeout: Seconds that one try may take.
            credentials: `{api_key: ...}`, shown to every server; None where none is asked for.

        Raises:
            InputError: The package `openai` is missing, or an argument is of another shape.
        """
        urls = base_url if isinstance(base_url, list) else [base_url]
        _refuse(urls, samples_per_call, max_tokens_field, concurrency, retries)
        self._url, self._model, self._min_tokens = urls[0], model, min_tokens
        self._together, self._tokens_field = samples_per_call == "all", max_tokens_field
        self._extra, self._concurrency = extra_body or {}, concurrency
        self._folder = Path(journal) if journal else None
        self._journal: Journal | None = None
        self._caller = Caller(
            urls, credentials, retries, backoff, timeout, budget, _kept(self._folder)
        )

    def generate(
        self, model: Checkpoint, requests: Sequence[Request], sampling: Sampling, seed: int
    ) -> list[list[Completion]]:
        """Rows of `sampling.n` completions, one row a request.

        Raises:
            InputError: A server refuses what is asked.
            GateError: The budget is spent, or the servers fail again and again.
        """
        self._check(sampling)
        order = self._order(model, sampling, seed)
        journal = self._opened_journal()
        # Greedy samples are one text.
        count = 1 if sampling.temperature == 0 else sampling.n
        places = [(place, sample) for place in range(len(requests)) for sample in range(count)]
        drawn = {}
        for place, sample in places if journal else []:
            if found := journal.find(order.key(requests[place], sample)):
                drawn[place, sample] = found
        missing = [place for place in places if place not in drawn]
        if missing:
            with Progress(order.name, len(missing)) as progress:
                drawn |= _run(self._draw(order, requests, missing, progress))
        rows = range(len(requests))
        return [[drawn[row, sample % count] for sample in range(sampling.n)] for row in rows]

    def refuse_unready(self) -> None:
        """Raises InputError where no server answers."""
        self._caller.refuse_silence()

    def misfits(
        self, model: Checkpoint, requests: Sequence[Request], sampling: Sampling
    ) -> list[str]:
        """None: a server counts its tokens itself."""
        return [""] * len(requests)

    def release(self) -> None:
        """Nothing is held between calls."""

    def _check(self, sampling: Sampling) -> None:
        if sampling.min_new_tokens > 1 and not self._min_tokens:
            raise InputError(
                f"{self._url}: min_new_tokens = {sampling.min_new_tokens}, which a server may "
                "not know. Set it to 0, or the engine's option `min_tokens: true` (vLLM knows it)."
            )

    def _order(self, model: Checkpoint, sampling: Sampling, seed: int) -> "_Order":
        extra = dict(self._extra)
        if self._min_tokens and sampling.min_new_tokens:
            extra["min_tokens"] = sampling.min_new_tokens
        mark = [] if self._model else weights_mark(model.path)
        name = self._model or model.name
        how = (self._together, self._tokens_field, extra)
        return _Order(self._url, name, mark, sampling, seed, *how)

    def _opened_journal(self) -> Journal | None:
        if self._journal is None and self._folder is not None:
            self._journal = Journal(self._folder)
        return self._journal

    async def _draw(
        self,
        order: "_Order",
        requests: Sequence[Request],
        missing: Sequence[_Place],
        progress: Progress,
    ) -> dict[_Place, Completion]:
        """Completions for all missing places; each is in the journal once it has arrived."""
        drawn: dict[_Place, Completion] = {}
        calls = iter(_together(missing) if self._together else [[place] for place in missing])

        async def work(caller: Caller) -> None:
            for places in calls:
                while places and not caller.over:
                    found = await self._call(caller, order, requests, places)
                    drawn.update(found)
                    progress.add(len(found), sum(each.drawn or 0 for each in found.values()))
                    places = places[len(found) :]

        async with self._caller as caller:
            # Calls under way are paid for: after a failure they are let to end.
            workers = (work(caller) for _ in range(min(self._concurrency, len(missing))))
            ends = await asyncio.gather(*workers, return_exceptions=True)
        for error in filter(None, [caller.first, *ends]):
            raise error
        return drawn

    async def _call(
        self,
        caller: Caller,
        order: "_Order",
        requests: Sequence[Request],
        places: Sequence[_Place],
    ) -> dict[_Place, Completion]:
        """The first of these samples of one request, one at least; an error stops the others."""
        request = requests[places[0][0]]
        body = order.body(request, [sample for _, sample in places])
        try:
            reply = await caller.ask(order.path(request), body, order.sampling)
            found = dict(zip(places, reply.completions, strict=False))
            if self._journal is not None:
                for (_, sample), completion in found.items():
                    self._journal.add(order.key(request, sample), completion)
        except BaseException as error:
            caller.stop(error)
            raise
        return found


@dataclass(frozen=True)
class _Order:
    """What is asked of a server, but for the request."""

    url: str
    """Of the first server, which stands for all."""
    name: str
    mark: list[Any]
    """Tells a model from an earlier one of the same name."""
    sampling: Sampling
    seed: int
    together: bool
    """Whether a call asks for all samples of a request."""
    tokens_field: str
    extra: dict[str, Any]

    def path(self, request: Request) -> str:
        return "/chat/completions" if request.chat else "/completions"

    def body(self, request: Request, samples: Sequence[int]) -> dict[str, Any]:
        """The fields of a call for these samples; further samples leave earlier ones' alone.

        Servers look for stop strings in thoughts too, where they end nothing, and nobody knows
        whether a chat will hold thoughts: of a chat, `read_reply` cuts the answer alone.
        """
        sampling = self.sampling
        asked = {"messages": request.messages} if request.chat else {"prompt": request.prompt}
        limit = self.tokens_field if request.chat else "max_tokens"
        several = {"n": len(samples)} if len(samples) > 1 else {}
        return {
            "model": self.name,
            **asked,
            **several,
            "seed": self._seed(request, samples[0]),
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            limit: sampling.max_new_tokens,
            **({"stop": list(sampling.stop)} if sampling.stop and not request.chat else {}),
            **self.extra,
        }

    def key(self, request: Request, sample: int) -> str:
        """Names one completion in the journal: its call's body, and which of its choices."""
        body = self.body(request, [sample])
        parts = {"url": self.url, "mark": self.mark, "id": request.id, "body": body}
        return json_digest({**parts, "together": self.together}, str)

    def _seed(self, request: Request, sample: int) -> int:
        """31 bits: many servers take no more."""
        greedy = self.sampling.temperature == 0
        return 0 if greedy else derive_seed(self.seed, request.id, str(sample)) >> 32


def _refuse(
    urls: Sequence[str], per_call: str, tokens_field: str, concurrency: int, retries: int
) -> None:
    """Arguments of another shape, all at once."""
    names = [str(url) for url in urls]
    odd = [repr(url) for url in urls if not str(url).startswith(("http://", "https://"))]
    rules = {
        "base_url names a server at least": bool(urls),
        f"base_url names each server once, not {', '.join(names)}": len(set(names)) == len(names),
        f"base_url starts with http:// or https://, not {', '.join(odd)}": not odd,
        f"samples_per_call is one or all, not {per_call!r}": per_call in ("one", "all"),
        f"max_tokens_field is max_tokens or max_completion_tokens, not {tokens_field!r}": (
            tokens_field in ("max_tokens", "max_completion_tokens")
        ),
        f"concurrency is 1 at least, not {concurrency}": concurrency >= 1,
        f"retries are 0 at least, not {retries}": retries >= 0,
    }
    if faults := [rule for rule, kept in rules.items() if not kept]:
        raise InputError(summary("OpenAIEngine: correct its entry in the catalog.", faults))


def _together(places: Sequence[_Place]) -> list[list[_Place]]:
    """The samples of each request in one list."""
    rows: dict[int, list[_Place]] = {}
    for place in places:
        rows.setdefault(place[0], []).append(place)
    return list(rows.values())


def _kept(folder: Path | None) -> str:
    if folder is not None:
        return f"Answers that came are kept in {folder}: a rerun asks for the rest alone."
    return "With the engine's option `journal` answers that came would be kept for a rerun."


def _run(work: Coroutine[Any, Any, Any]) -> Any:
    """The result of `work`, also where an event loop runs already (a notebook)."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, work).result()
