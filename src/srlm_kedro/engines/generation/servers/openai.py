"""Sampling from OpenAI-compatible servers: a hosted model, or `vllm serve` next door."""

import asyncio
from collections.abc import Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from srlm_kedro.display.progress import Progress
from srlm_kedro.engines.generation.base import Completion, Request, Sampling, folder_state
from srlm_kedro.engines.generation.servers.calls import Caller
from srlm_kedro.engines.generation.servers.journal import Journal
from srlm_kedro.errors import InputError, summary
from srlm_kedro.freshness.digests import json_digest
from srlm_kedro.params import Retries, Seconds
from srlm_kedro.records import Checkpoint, derive_seed

_Place = tuple[int, int]
"""A request's place among the requests, and the number of its sample."""


class OpenAIEngine:
    """Samples completions from one or several servers of a model that speak the OpenAI protocol.

    Each sample has its own seed, which depends on the seed, the request and the sample's number.
    vLLM follows seeds up to floating-point noise; hosted models do not promise to. A greedy
    completion is asked for once per request.

    A call goes to the server with the fewest calls under way. A server that fails rests, longer
    each time until it answers, and its calls are repeated at the others.
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
            base_url: The server's address; most end in `/v1`. A list names several servers of the
                same model. The journal knows them all by the first: keep it if you add others.
            model: The model's name on the server; None takes the checkpoint's (`m1`).
            samples_per_call: `one` makes a call per sample, so that raising n keeps earlier
                samples. `all` makes a call per request, for servers that bill the prompt with each
                call. Such a server counts the tokens of all samples together, so they are divided.
            max_tokens_field: The server's name for the longest completion of a chat.
            min_tokens: Whether the server knows `min_tokens` (vLLM does).
            extra_body: Further fields of each call, such as `{top_k: 20}`. The server sets the
                arguments of the chat template and its date: vLLM and SGLang take
                `{chat_template_kwargs: {enable_thinking: false}}`.
            budget: Most tokens, prompts included, that a run may spend. It is checked before each
                call, so calls under way may exceed it.
            journal: A folder in which completions are kept as they arrive. A rerun asks only for
                those that are missing.
            concurrency: Calls under way at once, at all servers together.
            retries: Further tries of a call after status 429 or 5xx, without a connection, or
                after no answer or a malformed one. A first try at each other server is extra.
            backoff: Seconds before the first retry, and seconds of a server's first rest. They
                double up to a minute. A server's Retry-After takes precedence.
            timeout: Seconds that one try may take.
            credentials: `{api_key: ...}`, sent to every server; None if none is needed.

        Raises:
            InputError: The package `openai` is missing, or an argument has another form.
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
        """Rows of `sampling.n` completions, one row per request.

        Raises:
            InputError: A server refuses a call.
            GateError: The budget is spent, or all tries of a call have failed.
        """
        self._check(sampling)
        task = self._task(model, sampling, seed)
        journal = self._opened_journal()
        # All greedy samples are the same text.
        count = 1 if sampling.temperature == 0 else sampling.n
        places = [(place, sample) for place in range(len(requests)) for sample in range(count)]
        drawn = {}
        for place, sample in places if journal else []:
            if found := journal.find(task.key(requests[place], sample)):
                drawn[place, sample] = found
        missing = [place for place in places if place not in drawn]
        if missing:
            with Progress(task.name, len(missing)) as progress:
                drawn |= _run(self._sample(task, requests, missing, progress))
        rows = range(len(requests))
        return [[drawn[row, sample % count] for sample in range(sampling.n)] for row in rows]

    def refuse_unready(self) -> None:
        """Raises InputError if no server answers."""
        self._caller.refuse_unreachable()

    def length_faults(
        self, model: Checkpoint, requests: Sequence[Request], sampling: Sampling
    ) -> list[str]:
        """No faults: a server counts tokens itself."""
        return [""] * len(requests)

    def release(self) -> None:
        """Nothing is held between calls."""

    def _check(self, sampling: Sampling) -> None:
        if sampling.min_new_tokens > 1 and not self._min_tokens:
            raise InputError(
                f"{self._url}: min_new_tokens = {sampling.min_new_tokens}, and a server may not "
                "know it. Set it to 0, or the engine's option `min_tokens: true` (vLLM knows it)."
            )

    def _task(self, model: Checkpoint, sampling: Sampling, seed: int) -> "_Task":
        extra = dict(self._extra)
        if self._min_tokens and sampling.min_new_tokens:
            extra["min_tokens"] = sampling.min_new_tokens
        state = [] if self._model else folder_state(model.path)
        name = self._model or model.name
        how = (self._together, self._tokens_field, extra)
        return _Task(self._url, name, state, sampling, seed, *how)

    def _opened_journal(self) -> Journal | None:
        if self._journal is None and self._folder is not None:
            self._journal = Journal(self._folder)
        return self._journal

    async def _sample(
        self,
        task: "_Task",
        requests: Sequence[Request],
        missing: Sequence[_Place],
        progress: Progress,
    ) -> dict[_Place, Completion]:
        """Completions for all missing places; each is in the journal as soon as it has arrived."""
        drawn: dict[_Place, Completion] = {}
        calls = iter(_together(missing) if self._together else [[place] for place in missing])

        async def work(caller: Caller) -> None:
            for places in calls:
                while places and not caller.stopped:
                    found = await self._call(caller, task, requests, places)
                    drawn.update(found)
                    progress.add(len(found), sum(each.drawn or 0 for each in found.values()))
                    places = places[len(found) :]

        async with self._caller as caller:
            # Calls under way are paid for, so they may end after a failure.
            workers = (work(caller) for _ in range(min(self._concurrency, len(missing))))
            ends = await asyncio.gather(*workers, return_exceptions=True)
        for error in filter(None, [caller.first_error, *ends]):
            raise error
        return drawn

    async def _call(
        self,
        caller: Caller,
        task: "_Task",
        requests: Sequence[Request],
        places: Sequence[_Place],
    ) -> dict[_Place, Completion]:
        """At least the first of these samples of one request; an error stops all other calls."""
        request = requests[places[0][0]]
        body = task.body(request, [sample for _, sample in places])
        try:
            reply = await caller.ask(task.path(request), body, task.sampling)
            found = dict(zip(places, reply.completions, strict=False))
            if self._journal is not None:
                for (_, sample), completion in found.items():
                    self._journal.add(task.key(request, sample), completion)
        except BaseException as error:
            caller.stop(error)
            raise
        return found


@dataclass(frozen=True)
class _Task:
    """Everything about a call that does not depend on its request."""

    url: str
    """Of the first server, by which the journal knows them all."""
    name: str
    state: list[Any]
    """By it a model differs from an earlier one of the same name."""
    sampling: Sampling
    seed: int
    together: bool
    """Whether one call asks for all samples of a request."""
    tokens_field: str
    extra: dict[str, Any]

    def path(self, request: Request) -> str:
        return "/chat/completions" if request.chat else "/completions"

    def body(self, request: Request, samples: Sequence[int]) -> dict[str, Any]:
        """The fields of a call for these samples; more samples do not change the fields of fewer.

        A chat gets no stop strings. Servers would find them in thoughts too, and it is not known
        whether a chat will hold thoughts. So `read_reply` cuts the answer.
        """
        sampling = self.sampling
        text = {"messages": request.messages} if request.chat else {"prompt": request.prompt}
        limit = self.tokens_field if request.chat else "max_tokens"
        several = {"n": len(samples)} if len(samples) > 1 else {}
        return {
            "model": self.name,
            **text,
            **several,
            "seed": self._seed(request, samples[0]),
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            limit: sampling.max_new_tokens,
            **({"stop": list(sampling.stop)} if sampling.stop and not request.chat else {}),
            **self.extra,
        }

    def key(self, request: Request, sample: int) -> str:
        """The key of one completion in the journal."""
        body = self.body(request, [sample])
        parts = {"url": self.url, "mark": self.state, "id": request.id, "body": body}
        return json_digest({**parts, "together": self.together}, str)

    def _seed(self, request: Request, sample: int) -> int:
        """A seed of 31 bits: many servers take no larger one."""
        greedy = self.sampling.temperature == 0
        return 0 if greedy else derive_seed(self.seed, request.id, str(sample)) >> 32


def _refuse(
    urls: Sequence[str], per_call: str, tokens_field: str, concurrency: int, retries: int
) -> None:
    """Raises InputError with all arguments that have another form."""
    names = [str(url) for url in urls]
    odd = [repr(url) for url in urls if not str(url).startswith(("http://", "https://"))]
    rules = {
        "base_url names at least one server": bool(urls),
        f"base_url names each server once, not {', '.join(names)}": len(set(names)) == len(names),
        f"base_url starts with http:// or https://, not {', '.join(odd)}": not odd,
        f"samples_per_call is one or all, not {per_call!r}": per_call in ("one", "all"),
        f"max_tokens_field is max_tokens or max_completion_tokens, not {tokens_field!r}": (
            tokens_field in ("max_tokens", "max_completion_tokens")
        ),
        f"concurrency is at least 1, not {concurrency}": concurrency >= 1,
        f"retries are at least 0, not {retries}": retries >= 0,
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
        return f"Answers that came are kept in {folder}: a rerun asks only for the rest."
    return "With the engine's option `journal`, answers that came would be kept for a rerun."


def _run(work: Coroutine[Any, Any, Any]) -> Any:
    """The result of `work`, even if an event loop runs already (in a notebook)."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, work).result()
