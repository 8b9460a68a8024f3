"""One server of a model: calls to it, and how long it gets none after a failure."""

import asyncio
from collections.abc import Callable, Mapping
from time import monotonic
from typing import Any

from srlm_kedro.engines.generation.servers.replies import Failure, Reply, failure

Reader = Callable[[Any], Reply | Failure]
"""Makes of a server's answer what was asked for."""

LONGEST_WAIT = 60.0
"""Most seconds between two tries, unless the server names more."""
_HERE = ("http://127.0.0.1:", "http://localhost:")
_CONNECT_WITHIN = 10.0
"""Seconds in which a server must accept a connection before a run begins."""


def no_connection(url: str, key: str, timeout: float, redacted: Callable[[str], str]) -> str | None:
    """Why no server can be reached at this address; None if one answers, whatever it says.

    It costs nothing: the server is asked for the list of its models. Some refuse to give it, which
    is an answer too.
    """
    from openai import APIConnectionError, OpenAI, OpenAIError

    wait = min(timeout, _CONNECT_WITHIN)
    with OpenAI(base_url=url, api_key=key, max_retries=0, timeout=wait) as client:
        try:
            client.get("/models", cast_to=object)
        except APIConnectionError as error:
            return failure(error, redacted).reason
        except (OpenAIError, ValueError):
            return None
    return None


class Endpoint:
    """An OpenAI-compatible server. After a failure it rests, longer each time until it answers.

    After the rest, one call at a time tests whether the server works again. So a server on which
    calls hang costs no more than one of them.
    """

    def __init__(self, url: str, backoff: float, timeout: float, redacted: Callable[[str], str]):
        """Sets the address and the times.

        Args:
            url: The server's address.
            backoff: Seconds of its first rest; 0 stands for one second.
            timeout: Seconds that a call may take.
            redacted: Removes from the server's words what nobody may see.
        """
        self.url, self.last_outcome = url, "not asked yet"
        self._backoff, self._timeout = backoff or 1.0, timeout
        self._redacted = redacted
        self._calls = self._under_way = 0
        self._rest_length = self._rests_until = 0.0

    def open(self, key: str) -> None:
        """Prepares for calls on the running event loop."""
        from openai import AsyncOpenAI, DefaultAsyncHttpxClient

        # A proxy that the environment names would not find a server of this machine.
        here = self.url.startswith(_HERE)
        client = DefaultAsyncHttpxClient(trust_env=False) if here else None
        self._client = AsyncOpenAI(
            base_url=self.url,
            api_key=key,
            max_retries=0,
            timeout=self._timeout,
            http_client=client,
        )

    async def close(self) -> None:
        """Closes the connections."""
        await self._client.close()

    @property
    def rest(self) -> float:
        """Seconds for which it should get no call; 0 for a server that works."""
        under_test = self._rest_length if self._under_way else 0.0
        return max(self._rests_until - monotonic(), under_test)

    @property
    def load(self) -> tuple[float, int, int]:
        """What calls are spread by: the server with the lowest value gets the next call."""
        return self.rest, self._under_way, self._calls

    async def ask(self, path: str, body: Mapping[str, Any], read: Reader) -> Reply | Failure:
        """The server's answer to one call, as `read` makes it of JSON."""
        self._calls += 1
        self._under_way += 1
        try:
            outcome = await self._post(path, body, read)
        finally:
            self._under_way -= 1
        self._update(outcome)
        return outcome

    async def _post(self, path: str, body: Mapping[str, Any], read: Reader) -> Reply | Failure:
        from openai import OpenAIError

        try:
            # The client's own timeout begins anew with each byte that arrives.
            async with asyncio.timeout(self._timeout):
                data = await self._client.post(path, body=dict(body), cast_to=object)
        except TimeoutError:
            return Failure(f"no answer within {self._timeout:g} s", again=True)
        except (OpenAIError, ValueError) as error:
            return failure(error, self._redacted)
        return read(data)

    def _update(self, outcome: Reply | Failure) -> None:
        if isinstance(outcome, Reply):
            self.last_outcome, self._rest_length = "an answer", 0.0
            return
        self.last_outcome = outcome.reason
        if outcome.wait:
            self._rest_length = outcome.wait
        elif not self._rest_length or monotonic() >= self._rests_until:
            # Calls that fail together have one cause, so they count once.
            self._rest_length = min(2 * self._rest_length or self._backoff, LONGEST_WAIT)
        self._rests_until = monotonic() + self._rest_length
