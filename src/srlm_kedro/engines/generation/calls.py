"""Calls of one OpenAI-compatible server: again where that may help, within a budget of tokens."""

import asyncio
import logging
import random
from collections.abc import Mapping
from typing import Any, Self

from pydantic import SecretStr

from srlm_kedro.engines.generation.base import Sampling
from srlm_kedro.engines.generation.replies import Failure, Reply, failure, read_reply
from srlm_kedro.errors import GateError, InputError
from srlm_kedro.shown import without

_LONGEST_WAIT = 60.0
"""Seconds between two tries, unless the server names more."""
_ADVICE = {
    401: "Name a valid key: `credentials` of the engine's entry in the catalog.",
    403: "Name a key that may use this model: `credentials` of the engine's entry in the catalog.",
    404: "Check base_url, and that the server has a model of this name (option `model`).",
    429: "The account is used up: see to the server's billing.",
}

_log = logging.getLogger(__name__)


class Caller:
    """Asks one server. Its key appears in no message, no log and no `repr`."""

    def __init__(
        self,
        url: str,
        credentials: Mapping[str, str] | None,
        retries: int,
        backoff: float,
        timeout: float,
        budget: int | None,
        kept: str,
    ):
        """Names the server; `kept` tells in errors what became of finished answers.

        Raises:
            InputError: The package `openai` is missing, or the credentials are of another shape.
        """
        _require_client()
        self._url, self._key = url, _key(credentials)
        self._retries, self._backoff, self._timeout = retries, backoff, timeout
        self._budget, self._spent, self._kept = budget, 0, kept

    async def __aenter__(self) -> Self:
        from openai import AsyncOpenAI

        # Never None: the client would send the environment's key to whatever server this is.
        key = self._key.get_secret_value() if self._key else "none"
        self._client = AsyncOpenAI(
            base_url=self._url, api_key=key, max_retries=0, timeout=self._timeout
        )
        self._over = asyncio.Event()
        self.first: BaseException | None = None
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._client.close()

    @property
    def over(self) -> bool:
        """Whether calls are stopped: one has failed for good."""
        return self._over.is_set()

    def stop(self, error: BaseException) -> None:
        """Calls off what has not been asked yet; waiting calls end, and the first error stays."""
        self.first = self.first or error
        self._over.set()

    async def ask(self, path: str, body: Mapping[str, Any], sampling: Sampling) -> Reply:
        """The server's answer.

        Raises:
            InputError: The server refuses what is asked.
            GateError: The budget is spent, or every try has failed.
        """
        for attempt in range(self._retries + 1):
            self._check_budget()
            outcome = await self._try(path, body, sampling)
            if isinstance(outcome, Reply):
                self._spent += outcome.prompt_tokens + outcome.completion_tokens
                return outcome
            self._spent += outcome.spent
            if (
                not outcome.again
                or attempt == self._retries
                or await self._paused(outcome, attempt)
            ):
                break
        raise self._refusal(outcome, path, body["model"], attempt + 1)

    async def _try(self, path: str, body: Mapping[str, Any], sampling: Sampling) -> Reply | Failure:
        from openai import OpenAIError

        try:
            async with asyncio.timeout(self._timeout):
                data = await self._client.post(path, body=dict(body), cast_to=object)
        except TimeoutError:
            return Failure(f"no answer within {self._timeout:g} s", again=True)
        except (OpenAIError, ValueError) as error:
            return failure(error, self._redacted)
        return read_reply(data, body.get("n", 1), sampling)

    async def _paused(self, outcome: Failure, attempt: int) -> bool:
        """Waits before the next try; True when another call has meanwhile failed for good."""
        longest = min(self._backoff * 2**attempt, _LONGEST_WAIT)
        # Chance spreads callers that failed together; it changes no result.
        wait = longest * random.uniform(0.5, 1) if outcome.wait is None else outcome.wait
        _log.info(
            "%s: %s; next try in %.1f s (%d of %d)",
            self._url,
            outcome.reason,
            wait,
            attempt + 1,
            self._retries,
        )
        try:
            await asyncio.wait_for(self._over.wait(), wait)
        except TimeoutError:
            return False
        return True

    def _check_budget(self) -> None:
        if self._budget is not None and self._spent >= self._budget:
            raise GateError(
                f"{self._url}: {self._spent} tokens are spent, and `budget` allows {self._budget}. "
                f"Raise it, or ask for less. {self._kept}"
            )

    def _refusal(self, outcome: Failure, path: str, model: str, tries: int) -> Exception:
        """The error of a call that has failed for good."""
        where, said = f"{self._url}{path}, model {model}", outcome.reason
        if outcome.again:
            return GateError(
                f"{where}: no answer after {tries} tries. Last: {said}. "
                f"See whether the server is up, or raise `retries` or `timeout`. {self._kept}"
            )
        advice = _ADVICE.get(outcome.status or 0, "Correct the engine's options or the prompts.")
        if outcome.status in (404, 405) and path == "/completions":
            advice += " If it has no /completions, set `prompts.chat: true`."
        return InputError(f"{where}: {said}. {advice} {self._kept}")

    def _redacted(self, text: str) -> str:
        return without(text, self._key.get_secret_value()) if self._key else text


def _require_client() -> None:
    try:
        import openai  # noqa: F401
    except ImportError:
        raise InputError(
            "OpenAIEngine needs the package `openai`: pip install 'srlm_kedro[openai]'."
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
