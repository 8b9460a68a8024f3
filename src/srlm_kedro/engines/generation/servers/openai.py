"""Sampling from OpenAI-compatible servers: a hosted model, or `vllm serve` next door."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal

from pydantic import Field

from srlm_kedro.display.progress import Progress
from srlm_kedro.engines.generation import watching
from srlm_kedro.engines.generation.base import (
    Choices,
    Completion,
    Request,
    Sampling,
    folder_state,
)
from srlm_kedro.engines.generation.choices import check_choices
from srlm_kedro.engines.generation.servers.calls import Caller, run
from srlm_kedro.engines.generation.servers.journal import COMPLETIONS, TOP_TOKENS, Form, Journal
from srlm_kedro.engines.generation.servers.tasks import SampleTask, Target, TopTask
from srlm_kedro.engines.generation.servers.top_tokens import (
    Top,
    choice_row,
    read_top,
    without_markers,
)
from srlm_kedro.errors import InputError, summary
from srlm_kedro.params import Retries, Seconds
from srlm_kedro.records import Checkpoint

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
        top_logprobs: Annotated[int, Field(ge=1, le=1000)] = 20,
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
            top_logprobs: Most probable first tokens that a server names where answers are read as
                probabilities. Most servers allow 20; OpenAI allows 5 for raw texts.

        Raises:
            InputError: The package `openai` is missing, or an argument has another form.
        """
        urls = base_url if isinstance(base_url, list) else [base_url]
        _refuse(urls, samples_per_call, max_tokens_field, concurrency, retries)
        self._url, self._model, self._min_tokens = urls[0], model, min_tokens
        self._together, self._tokens_field = samples_per_call == "all", max_tokens_field
        self._extra, self._concurrency = extra_body or {}, concurrency
        self._top = top_logprobs
        self._folder = Path(journal) if journal else None
        self._journals: dict[str, Journal[Any]] = {}
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
        extra = {"min_tokens": sampling.min_new_tokens} if sampling.min_new_tokens else {}
        target = self._target(model, extra if self._min_tokens else {})
        task = SampleTask(target, sampling, seed, self._together)
        journal = self._journal(COMPLETIONS)
        # All greedy samples are the same text.
        count = 1 if sampling.temperature == 0 else sampling.n
        places = [(place, sample) for place in range(len(requests)) for sample in range(count)]
        drawn = {}
        for place, sample in places if journal else []:
            if found := journal.find(task.key(requests[place], sample)):
                drawn[place, sample] = found
        watching.end_all(requests, drawn)
        missing = [place for place in places if place not in drawn]
        if missing:
            with Progress(target.name, len(missing)) as progress:
                drawn |= run(self._sample(task, requests, missing, progress))
        rows = range(len(requests))
        return [[drawn[row, sample % count] for sample in range(sampling.n)] for row in rows]

    def choice_logprobs(
        self, model: Checkpoint, requests: Sequence[Request], choices: Choices
    ) -> list[list[float]]:
        """The log-probability of each choice as the answer, one row per request.

        A server names its most probable first tokens, whose texts are compared with the spellings.
        `choice_row` says what becomes of those that it does not name. The server renders chats, so
        a model that thinks must be told not to: see `extra_body`.

        Raises:
            InputError: A server refuses a call, or returns no log-probabilities.
            GateError: The budget is spent, or all tries of a call have failed.
        """
        check_choices([[without_markers(each) for each in spellings] for spellings in choices])
        task, journal = TopTask(self._target(model), self._top), self._journal(TOP_TOKENS)
        found = [journal.find(task.key(request)) if journal else None for request in requests]
        missing = [place for place, top in enumerate(found) if top is None]
        if missing:
            with Progress(task.target.name, len(missing), "answers") as progress:
                run(self._read_top(task, requests, missing, found, progress))
        return [choice_row(top or (), choices) for top in found]

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

    def _target(self, model: Checkpoint, extra: Mapping[str, Any] = MappingProxyType({})) -> Target:
        state = [] if self._model else folder_state(model.path)
        name = self._model or model.name
        return Target(self._url, name, state, self._tokens_field, {**self._extra, **extra})

    def _journal(self, form: Form[Any]) -> Journal[Any] | None:
        if self._folder is None:
            return None
        if form.file not in self._journals:
            self._journals[form.file] = Journal(self._folder, form)
        return self._journals[form.file]

    async def _sample(
        self,
        task: SampleTask,
        requests: Sequence[Request],
        missing: Sequence[_Place],
        progress: Progress,
    ) -> dict[_Place, Completion]:
        """Completions for all missing places; each is in the journal as soon as it has arrived."""
        drawn: dict[_Place, Completion] = {}
        journal = self._journal(COMPLETIONS)

        async def work(places: Sequence[_Place]) -> None:
            while places and not caller.stopped:
                watching.begin_all(requests, places)
                request = requests[places[0][0]]
                samples = [sample for _, sample in places]
                body, read = task.body(request, samples), task.reader(samples)
                reply = await caller.ask(task.target.path(request), body, read)
                # A server may return fewer than it was asked for.
                found = dict(zip(places, reply.completions, strict=False))
                for (_, sample), completion in found.items() if journal else ():
                    journal.add(task.key(request, sample), completion)
                watching.end_all(requests, found)
                drawn.update(found)
                progress.add(len(found), sum(each.drawn or 0 for each in found.values()))
                places = places[len(found) :]

        calls = _together(missing) if self._together else [[place] for place in missing]
        async with self._caller as caller:
            await caller.work_through(calls, min(self._concurrency, len(missing)), work)
        return drawn

    async def _read_top(
        self,
        task: TopTask,
        requests: Sequence[Request],
        missing: Sequence[int],
        found: list[Top | None],
        progress: Progress,
    ) -> None:
        """Puts the first tokens for all missing places into `found` and into the journal."""
        journal = self._journal(TOP_TOKENS)

        async def work(place: int) -> None:
            request = requests[place]
            body = task.body(request)
            reply = await caller.ask(task.target.path(request), body, read_top)
            if journal is not None:
                journal.add(task.key(request), reply.top)
            found[place] = reply.top
            progress.add(1)

        async with self._caller as caller:
            await caller.work_through(missing, min(self._concurrency, len(missing)), work)


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
