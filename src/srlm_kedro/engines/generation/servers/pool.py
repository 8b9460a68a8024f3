"""One of the servers of a model: what it is asked, and how long it is left alone after a fault."""

import asyncio
from collections.abc import Callable, Mapping
from time import monotonic
from typing import Any

from srlm_kedro.engines.generation.base import Sampling
from srlm_kedro.engines.generation.servers.replies import Failure, Reply, failure, read_reply

LONGEST_WAIT = 60.0
"""Seconds between two tries, unless the server names more."""
_FIRST_WAIT = 10.0
"""Seconds in which a server must take a connection before any work."""


def no_connection(url: str, key: str, timeout: float, redacted: Callable[[str], str]) -> str | None:
    """Why nobody can be asked there; None where somebody answers, whatever is said.

    Nothing is paid for: the server is asked for the list of its models, which some refuse to give.
    """
    from openai import APIConnectionError, OpenAI, OpenAIError

    wait = min(timeout, _FIRST_WAIT)
    with OpenAI(base_url=url, api_key=key, max_retries=0, timeout=wait) as client:
        try:
            client.get("/models", cast_to=object)
        except APIConnectionError as error:
            return failure(error, redacted).reason
        except (OpenAIError, ValueError):
            return None
    return None


class Server:
    """An OpenAI-compatible server, which rests when it fails: longer each time, until it answers.

    After the rest one call at a time sees whether it is well again, so that a server that lets
    calls hang costs no more than one of them.
    """

    def __init__(self, url: str, backoff: float, timeout: float, redacted: Callable[[str], str]):
        """Names the server.

        Args:
            url: Where it answers.
            backoff: Seconds of its first rest; one where that is 0.
            timeout: Seconds that a call may take.
            redacted: Takes out of its words what nobody may see.
        """
        self.url, self.said = url, "not asked yet"
        self._backoff, self._timeout = backoff or 1.0, timeout
        self._redacted = redacted
        self._asked = self._under_way = 0
        self._pause = self._until = 0.0

    def open(self, key: str) -> None:
        """Gets ready for calls on the event loop that runs."""
        from openai import AsyncOpenAI

        self._client = AsyncOpenAI(
            base_url=self.url, api_key=key, max_retries=0, timeout=self._timeout
        )

    async def close(self) -> None:
        """Ends the connections."""
        await self._client.close()

    @property
    def rest(self) -> float:
        """Seconds for which it is better left alone; 0 for a server that is well."""
        tried = self._pause if self._under_way else 0.0
        return max(self._until - monotonic(), tried)

    @property
    def turn(self) -> tuple[float, int, int]:
        """The lowest of all servers is asked next."""
        return self.rest, self._under_way, self._asked

    async def ask(self, path: str, body: Mapping[str, Any], sampling: Sampling) -> Reply | Failure:
        """What it answers to one call."""
        self._asked += 1
        self._under_way += 1
        try:
            outcome = await self._post(path, body, sampling)
        finally:
            self._under_way -= 1
        self._learn(outcome)
        return outcome

    async def _post(
        self, path: str, body: Mapping[str, Any], sampling: Sampling
    ) -> Reply | Failure:
        from openai import OpenAIError

        try:
            async with asyncio.timeout(self._timeout):
                data = await self._client.post(path, body=dict(body), cast_to=object)
        except TimeoutError:
            return Failure(f"no answer within {self._timeout:g} s", again=True)
        except (OpenAIError, ValueError) as error:
            return failure(error, self._redacted)
        return read_reply(data, body.get("n", 1), sampling)

    def _learn(self, outcome: Reply | Failure) -> None:
        if isinstance(outcome, Reply):
            self.said, self._pause = "an answer", 0.0
            return
        self.said = outcome.reason
        if outcome.wait:
            self._pause = outcome.wait
        elif not self._pause or monotonic() >= self._until:
            # Calls that fail together are one fault, and it is counted once.
            self._pause = min(2 * self._pause or self._backoff, LONGEST_WAIT)
        self._until = monotonic() + self._pause
