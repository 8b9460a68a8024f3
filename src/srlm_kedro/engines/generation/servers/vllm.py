"""Sampling with a vLLM server in a Python environment of its own, since it needs other versions."""

import logging
from collections.abc import Awaitable, Callable, Container, Iterable, Mapping, Sequence
from functools import partial
from typing import Annotated, Any

from pydantic import Field

from srlm_kedro.display.progress import Progress
from srlm_kedro.engines.generation import watching
from srlm_kedro.engines.generation.base import Choices, Completion, Request, Sampling
from srlm_kedro.engines.generation.choices import first_tokens
from srlm_kedro.engines.generation.completions import opened_thoughts
from srlm_kedro.engines.generation.loading import read_limits
from srlm_kedro.engines.generation.request_tokens import (
    draw_fitting,
    length_faults,
    read_fitting,
    tokenise,
)
from srlm_kedro.engines.generation.servers.calls import Caller, NoAnswerError, run
from srlm_kedro.engines.generation.servers.token_calls import Task, TokenCalls
from srlm_kedro.engines.generation.servers.vllm_server import OneServer, Serve
from srlm_kedro.engines.template import checked
from srlm_kedro.errors import GateError, InputError
from srlm_kedro.params import Retries, Seconds
from srlm_kedro.records import Checkpoint, derive_seed

_log = logging.getLogger(__name__)
_Place = tuple[int, int]
"""A request's place among the requests, and the number of its sample."""


class VllmEngine:
    """Samples completions by `vllm serve`, which this engine starts for each model.

    Prompts are rendered in this process, as for every other engine, and sent as token ids. Each
    sample is a call with its own seed. vLLM computes what the samples of a prompt share once.
    Threads may ask at the same time; they share the server.
    """

    SHARDS_AT_ONCE = 2
    """A replica asks for two shards together, so that one's last completions leave no room idle."""

    def __init__(
        self,
        python: str,
        dtype: str = "auto",
        serve_options: dict[str, Any] | None = None,
        environment: dict[str, str] | None = None,
        concurrency: Annotated[int, Field(ge=1, le=100_000)] = 512,
        retries: Retries = 2,
        timeout: Seconds = 3600.0,
        patience: Seconds = 1800.0,
        template: Mapping[str, Any] | None = None,
    ):
        """Names the environment.

        Args:
            python: The interpreter of an environment with vLLM.
            dtype: Precision of the weights; `auto` takes the checkpoint's own.
            serve_options: Further options of `vllm serve`, such as `{tensor_parallel_size: 2}`.
            environment: Further variables of the server, such as `{CUDA_VISIBLE_DEVICES: "0"}`.
            concurrency: Calls under way at once.
            retries: How often a server that died or does not answer is replaced by a new one;
                completions that have arrived are kept.
            timeout: Seconds that a completion may take, waiting for others included.
            patience: Seconds that a server may take to load its model.
            template: Arguments of the chat template, such as `{enable_thinking: false}`, and
                `date`, its current date (default 2024-07-26). The training engine takes the same.

        Raises:
            InputError: `template` holds what no template can be given.
        """
        self._concurrency, self._retries = concurrency, retries
        options = {"dtype": dtype, **(serve_options or {})}
        self._serve = Serve(
            python, options, environment or {}, checked(template), timeout, patience
        )
        self._server = OneServer(self._serve)

    def generate(
        self, model: Checkpoint, requests: Sequence[Request], sampling: Sampling, seed: int
    ) -> list[list[Completion]]:
        """Rows of `sampling.n` completions, one row per request.

        Raises:
            InputError: vLLM or the model cannot be loaded, or requests do not fit the model.
            GateError: Too many servers died, hung, or failed.
        """
        if not requests:
            return []
        turn = self._server.begin(model)
        held = self._server.of(model, turn)
        prompts = tokenise(held.calls.tokenizer, requests)

        def draw(fitting: Sequence[Request], ids: Sequence[list[int]]) -> list[list[Completion]]:
            return self._complete(model, turn, fitting, ids, sampling, seed)

        return draw_fitting(model, held.positions, requests, prompts, sampling, draw)

    def choice_logprobs(
        self, model: Checkpoint, requests: Sequence[Request], choices: Choices
    ) -> list[list[float]]:
        """The log-probability of each choice as the answer, one row per request.

        Raises:
            InputError: As by `generate`; or two choices begin with the same token.
            GateError: Too many servers died, hung, or failed.
        """
        if not requests:
            return []
        turn = self._server.begin(model)
        held = self._server.of(model, turn)
        tokens = first_tokens(model, held.calls.tokenizer, choices)
        prompts = tokenise(held.calls.tokenizer, requests, before_answers=True)

        def read(_: Sequence[Request], ids: Sequence[list[int]]) -> list[list[float]]:
            rows: dict[int, list[float]] = {}
            with Progress(model.name, len(ids), "answers") as progress:

                async def ask(place: int, calls: TokenCalls, caller: Caller) -> None:
                    body = calls.choices(ids[place], tokens)
                    named = partial(calls.named, tokens=tokens)
                    reply = await caller.ask("/completions", body, named)
                    rows[place] = calls.choice_row(reply, tokens)
                    progress.add(1)

                missing = partial(_without, range(len(ids)), rows)
                self._work(model, turn, missing, ask)
            return [rows[place] for place in range(len(ids))]

        return read_fitting(model, held.positions, requests, prompts, len(choices), read)

    def refuse_unready(self) -> None:
        """Raises InputError if vLLM, or what asks it, is not installed."""
        self._serve.refuse_unready()

    def length_faults(
        self, model: Checkpoint, requests: Sequence[Request], sampling: Sampling
    ) -> list[str]:
        """Why each request leaves `model` no room, in tokens; an empty text for one that fits.

        The limit is `max_model_len` of `serve_options` if it is set, else the checkpoint's own.

        Raises:
            InputError: The checkpoint's tokenizer or configuration cannot be read.
        """
        tokenizer, positions = read_limits(model, template=self._serve.template)
        named = self._serve.options.get("max_model_len")
        # vLLM also takes words and -1. Then it finds the limit when it loads the model.
        limit = named if isinstance(named, int) and named > 0 else positions
        return length_faults(tokenise(tokenizer, requests), limit, sampling)

    def release(self) -> None:
        """Ends the server, and so frees all that it holds."""
        self._server.release()

    def _complete(
        self,
        model: Checkpoint,
        turn: int,
        requests: Sequence[Request],
        prompts: Sequence[list[int]],
        sampling: Sampling,
        seed: int,
    ) -> list[list[Completion]]:
        opened = opened_thoughts(self._server.of(model, turn).calls.tokenizer, requests)
        # All greedy samples are the same text.
        count = 1 if sampling.temperature == 0 else sampling.n
        places = [(row, sample) for row in range(len(requests)) for sample in range(count)]
        drawn: dict[_Place, Completion] = {}
        with Progress(model.name, len(places)) as progress:

            async def ask(place: _Place, calls: TokenCalls, caller: Caller) -> None:
                row, sample = place
                request = requests[row]
                watching.begin_all(requests, [place])
                task = Task(prompts[row], opened[row], request.chat, _seed(seed, request, sample))
                read = partial(calls.completion, task=task, sampling=sampling)
                body = calls.sample(task, sampling)
                reply = await caller.ask("/completions", body, read)
                (drawn[place],) = reply.completions
                watching.end_all(requests, {place: drawn[place]})
                progress.add(1, drawn[place].drawn or 0)

            self._work(model, turn, partial(_without, places, drawn), ask)
        return [
            [drawn[row, sample % count] for sample in range(sampling.n)]
            for row in range(len(requests))
        ]

    def _work(
        self,
        model: Checkpoint,
        turn: int,
        missing: Callable[[], list[Any]],
        ask: Callable[[Any, TokenCalls, Caller], Awaitable[None]],
    ) -> None:
        """Asks for all that is missing; a server that fails is replaced by a new one."""
        left = self._retries
        while todo := missing():
            held = None
            try:
                held = self._server.of(model, turn)
                caller = self._serve.caller(held.server.url)
                run(_through(caller, held.calls, todo, min(self._concurrency, len(todo)), ask))
            except NoAnswerError as error:
                failed: Exception = error
                lines = held.server.program.last_lines() if held else ""
                self._server.end(held)
            except (InputError, GateError) as error:
                if held is not None or self._server.over(turn):
                    raise  # a refusal, who watches has seen enough, or nobody asks any more
                failed, lines = error, ""  # a server answered before, so another try may help
            else:
                continue
            message = f"{failed}\n{lines}".strip()
            if not left:
                raise GateError(message) from failed
            _log.warning("%s\n%s: a new server is started.", message, model.name)
            left -= 1


def _without(places: Iterable[Any], done: Container[Any]) -> list[Any]:
    return [place for place in places if place not in done]


async def _through(
    caller: Caller,
    calls: TokenCalls,
    places: Sequence[Any],
    workers: int,
    ask: Callable[[Any, TokenCalls, Caller], Awaitable[None]],
) -> None:
    async with caller:
        await caller.work_through(places, workers, lambda place: ask(place, calls, caller))


def _seed(seed: int, request: Request, sample: int) -> int:
    return derive_seed(seed, request.id, str(sample)) >> 32
