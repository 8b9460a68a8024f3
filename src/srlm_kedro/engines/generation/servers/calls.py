"""Calls of OpenAI-compatible servers: repeated if that may help, within a budget of tokens.

The client's own retries stay off (`max_retries=0`). They would repeat a call at the server that
failed, and know neither the budget nor that another call has failed for good. They end at answers
that arrive but cannot be read, and their waiting times are not for the user to set.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Self, TypeVar

from pydantic import SecretStr

from srlm_kedro.display.safe_text import redacted
from srlm_kedro.engines.generation.servers.endpoint import (
    LONGEST_WAIT,
    Endpoint,
    Reader,
    no_connection,
)
from srlm_kedro.engines.generation.servers.replies import Failure, Reply
from srlm_kedro.errors import GateError, InputError

_ADVICE = {
    401: "Name a valid key: `credentials` of the engine's entry in the catalog.",
    403: "Name a key that may use this model: `credentials` of the engine's entry in the catalog.",
    404: "Check base_url, and that the server has a model of this name (option `model`).",
    429: "The account is used up: check the server's billing.",
}

_Call = TypeVar("_Call")
_log = logging.getLogger(__name__)


class NoAnswerError(GateError):
    """Every try of a call has failed."""


class Caller:
    """Asks the servers of one model. Its key appears in no message, no log and no `repr`."""

    def __init__(
        self,
        urls: Sequence[str],
        credentials: Mapping[str, str] | None,
        retries: int,
        backoff: float,
        timeout: float,
        budget: int | None,
        kept: str,
        name: str = "OpenAIEngine",
    ):
        """Names the servers; errors say who asked, and by `kept` what became of the answers.

        Raises:
            InputError: The package `openai` is missing, or the credentials have another form.
        """
        _require_client()
        self._key, self._backoff, self._timeout = _key(credentials), backoff, timeout
        self._servers = [Endpoint(url, backoff, timeout, self._redacted) for url in urls]
        # The first try at another server repeats nothing.
        self._tries = len(urls) + retries
        self._budget, self._spent, self._kept, self._name = budget, 0, kept, name

    def refuse_unreachable(self) -> None:
        """Checks that a server answers; of several servers, one is enough.

        Raises:
            InputError: None does.
        """
        faults = []
        for server in self._servers:
            fault = no_connection(server.url, self._header_key(), self._timeout, self._redacted)
            if fault is None:
                return
            faults.append(f"{server.url}: {fault}")
        raise InputError(
            f"OpenAIEngine: no server answers ({'; '.join(faults)}). Start it, or correct "
            "`base_url` of the engine's entry in the catalog."
        )

    async def __aenter__(self) -> Self:
        for server in self._servers:
            server.open(self._header_key())
        self._stopped = asyncio.Event()
        self.first_error: BaseException | None = None
        return self

    async def __aexit__(self, *error: object) -> None:
        for server in self._servers:
            await server.close()

    @property
    def stopped(self) -> bool:
        """Whether calls are stopped because one has failed for good."""
        return self._stopped.is_set()

    def stop(self, error: BaseException) -> None:
        """Stops calls that are waiting or not begun yet; the first error is kept."""
        self.first_error = self.first_error or error
        self._stopped.set()

    async def work_through(
        self, calls: Iterable[_Call], workers: int, work: Callable[[_Call], Awaitable[None]]
    ) -> None:
        """Works on all calls, so many at once; an error stops those that are not begun yet.

        Raises:
            BaseException: The first error of `work`.
        """
        waiting = iter(calls)

        async def take() -> None:
            for call in waiting:
                if self.stopped:
                    return
                try:
                    await work(call)
                except BaseException as error:
                    self.stop(error)
                    raise

        # Calls under way are paid for, so they may end after a failure.
        ends = await asyncio.gather(*(take() for _ in range(workers)), return_exceptions=True)
        for error in filter(None, [self.first_error, *ends]):
            raise error

    async def ask(self, path: str, body: Mapping[str, Any], read: Reader) -> Reply:
        """The answer of one of the servers, as `read` makes it of JSON.

        Raises:
            InputError: A server refuses the call.
            GateError: The budget is spent, or every try has failed.
        """
        for attempt in range(self._tries):
            self._check_budget()
            server = min(self._servers, key=lambda each: each.load)
            outcome = await server.ask(path, body, read)
            if isinstance(outcome, Reply):
                self._spent += outcome.prompt_tokens + outcome.completion_tokens
                return outcome
            self._spent += outcome.spent
            if not outcome.again:
                raise self._refusal(server, outcome, path, body["model"])
            if attempt + 1 == self._tries or await self._paused(server, outcome, attempt):
                break
        raise self._no_answer(path, body["model"], attempt + 1)

    async def _paused(self, server: Endpoint, outcome: Failure, attempt: int) -> bool:
        """Waits before the next try; returns whether another call has failed for good meanwhile."""
        wait = self._wait(outcome, attempt)
        _log.info(
            "%s: %s; next try in %.1f s (%d of %d)",
            server.url,
            outcome.reason,
            wait,
            attempt + 1,
            self._tries - 1,
        )
        try:
            await asyncio.wait_for(self._stopped.wait(), wait)
        except TimeoutError:
            return self.stopped
        return True

    def _wait(self, outcome: Failure, attempt: int) -> float:
        """Seconds before the next try: none if another server works."""
        soonest = min(server.rest for server in self._servers)
        if not soonest:
            return 0.0
        if outcome.wait is not None:
            return min(outcome.wait, soonest)
        # Random times spread calls that failed together; they change no result.
        return min(self._backoff * 2**attempt, LONGEST_WAIT) * random.uniform(0.5, 1)

    def _check_budget(self) -> None:
        if self._budget is not None and self._spent >= self._budget:
            where = ", ".join(server.url for server in self._servers)
            raise GateError(
                f"{where}: {self._spent} tokens are spent, and `budget` allows {self._budget}. "
                f"Raise it, or ask for less. {self._kept}"
            )

    def _refusal(self, server: Endpoint, outcome: Failure, path: str, model: str) -> InputError:
        """The error of a call that a server refuses."""
        advice = _ADVICE.get(outcome.status or 0, "Correct the engine's options or the prompts.")
        if outcome.status in (404, 405) and path == "/completions":
            advice += " If it has no /completions, set `prompts.chat: true`."
        where = f"{server.url}{path}, model {model}"
        return InputError(f"{where}: {outcome.reason}. {advice} {self._kept}")

    def _no_answer(self, path: str, model: str, tries: int) -> NoAnswerError:
        """The error of a call that no server answered, with the last outcome at each of them."""
        last = [f"{each.url}{path}: {each.last_outcome}" for each in self._servers]
        return NoAnswerError(
            f"{self._name}, model {model}: no answer after {tries} tries. "
            f"Last, {'; '.join(last)}. "
            f"Start what is down, or raise `retries` or `timeout`. {self._kept}"
        )

    def _header_key(self) -> str:
        # Never None: the client would send the key of the environment variable to this server.
        return self._key.get_secret_value() if self._key else "none"

    def _redacted(self, text: str) -> str:
        return redacted(text, self._key.get_secret_value()) if self._key else text


def _require_client() -> None:
    try:
        import openai  # noqa: F401
    except ImportError:
        raise InputError(
            "servers are asked by the package `openai`, which is missing: pip install "
            "'srlm_kedro[openai]'."
        ) from None


def _key(credentials: Mapping[str, str] | None) -> SecretStr | None:
    if credentials is None:
        return None
    if set(credentials) != {"api_key"} or not credentials["api_key"]:
        raise InputError(
            "OpenAIEngine: credentials are `api_key: ...` and nothing else, "
            f"found the keys {', '.join(sorted(map(str, credentials))) or 'none'}. "
            "Correct credentials.yml in conf/local, or in the environment's own folder."
        )
    key = str(credentials["api_key"]).strip()
    if not key or not key.isascii() or not key.isprintable() or " " in key:
        raise InputError(
            "OpenAIEngine: `api_key` is empty, or holds a space, a line break or a character that "
            "no header can carry. Correct it in credentials.yml."
        )
    return SecretStr(key)


def run(work: Coroutine[Any, Any, Any]) -> Any:
    """The result of `work`, even if an event loop runs already (in a notebook)."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, work).result()
