"""The vLLM server of one model at a time, which the threads of an engine share."""

import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from srlm_kedro.engines.generation.loading import end_tokens, files_key
from srlm_kedro.engines.generation.servers.calls import Caller
from srlm_kedro.engines.generation.servers.local_server import LocalServer, refuse_without
from srlm_kedro.engines.generation.servers.token_calls import TokenCalls
from srlm_kedro.engines.template import Argument
from srlm_kedro.engines.weights import is_adapter, read_tokenizer, unreadable
from srlm_kedro.errors import GateError, InputError
from srlm_kedro.records import Checkpoint

_NO_TELEMETRY = {"VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1", "HF_HUB_OFFLINE": "1"}


@dataclass(frozen=True)
class Held:
    """A server that holds a model, and the model's tokenizer in this process."""

    key: tuple[Any, ...]
    server: LocalServer
    calls: TokenCalls
    positions: int | None
    """Longest sequence, in tokens."""


@dataclass(frozen=True)
class Serve:
    """How `vllm serve` is started and asked, see `VllmEngine`."""

    python: str
    options: Mapping[str, Any]
    environment: Mapping[str, str]
    template: Mapping[str, Argument]
    timeout: float
    patience: float

    def start(self, checkpoint: Checkpoint, key: tuple[Any, ...]) -> Held:
        """A server that has loaded a checkpoint's model.

        Raises:
            InputError: vLLM cannot be started, or the checkpoint cannot be loaded.
            GateError: The model was not loaded within `patience` seconds.
        """
        tokenizer = _tokenizer(checkpoint, self.template)
        command = [
            *(self.python, "-m", "vllm.entrypoints.cli.main", "serve"),
            str(checkpoint.path.resolve()),
            *("--host", "127.0.0.1", "--port", "{port}"),
            *("--served-model-name", checkpoint.name),
            *("--generation-config", "vllm"),  # without the checkpoint's defaults
            *("--enable-prefix-caching", "--seed", "0", "--disable-uvicorn-access-log"),
            *_flags(self.options),
        ]
        calls = TokenCalls(checkpoint.name, tokenizer, _ends(checkpoint.path, tokenizer))
        server = LocalServer(command, {**_NO_TELEMETRY, **self.environment})
        try:
            self.caller(server.url)  # without its package nothing can be asked
            said = server.wait(self.patience)
        except BaseException as error:
            server.program.end()
            if isinstance(error, InputError):
                raise InputError(f"{checkpoint.name}: {error}") from error
            raise
        return Held(key, server, calls, said.get("max_model_len"))

    def refuse_unready(self) -> None:
        """Raises InputError if vLLM, or what asks it, is not installed."""
        self.caller("http://127.0.0.1/v1")
        refuse_without(self.python, "vllm", self.environment)

    def caller(self, url: str) -> Caller:
        """Asks the server at an address."""
        return Caller([url], None, 1, 0.2, self.timeout, None, "", name="vLLM")


class OneServer:
    """At most one server, that of the model that was asked for last.

    Every call has a turn. A turn ends when a call asks for another model, and with `release`.
    """

    def __init__(self, serve: Serve):
        """Starts none yet."""
        self.held: Held | None = None
        self._serve = serve
        self._lock = threading.Lock()
        self._turn = 0
        self._asked: tuple[Any, ...] | None = None

    def begin(self, checkpoint: Checkpoint) -> int:
        """The turn of a call: another one if it asks for another model than the last call."""
        key = files_key(checkpoint.path)
        with self._lock:
            if key != self._asked:
                self._turn, self._asked = self._turn + 1, key
            return self._turn

    def over(self, turn: int) -> bool:
        """Whether a turn has ended."""
        return turn != self._turn

    def of(self, checkpoint: Checkpoint, turn: int) -> Held:
        """The checkpoint's server: that of the last call if its files are the same.

        Raises:
            GateError: The turn has ended: another thread has asked for another model, or released
                the engine. Or as by `Serve.start`.
            InputError: As by `Serve.start`.
        """
        key = files_key(checkpoint.path)
        with self._lock:
            if self.over(turn):
                raise GateError(f"{checkpoint.name}: nobody asks for it any more.")
            if self.held is None or self.held.key != key or not self.held.server.alive:
                self._end(self.held)
                self.held = self._serve.start(checkpoint, key)
            return self.held

    def end(self, held: Held | None) -> None:
        """Ends a server, unless another thread has done so and put a new one in its place."""
        with self._lock:
            self._end(held)

    def release(self) -> None:
        """Ends the server and all turns."""
        with self._lock:
            self._turn, self._asked = self._turn + 1, None
            self._end(self.held)

    def _end(self, held: Held | None) -> None:
        if held is not None:
            held.server.program.end()
            self.held = None if self.held is held else self.held


def _flags(options: Mapping[str, Any]) -> list[str]:
    """Options as `vllm serve` takes them."""
    found: list[str] = []
    for name, value in options.items():
        flag = f"--{name.replace('_', '-')}"
        if value is False:
            found.append(f"--no-{name.replace('_', '-')}")
        elif value is True:
            found.append(flag)
        else:
            found += [flag, value if isinstance(value, str) else json.dumps(value)]
    return found


def _tokenizer(checkpoint: Checkpoint, template: Mapping[str, Argument]) -> Any:
    if is_adapter(checkpoint):
        raise InputError(
            f"{checkpoint.name}: {checkpoint.path} holds only an adapter, which this engine does "
            "not load. Train with `lora.keep: merged`, or sample with TransformersEngine."
        )
    try:
        return read_tokenizer(checkpoint, template=template)
    except (OSError, ValueError, KeyError) as error:
        raise unreadable(checkpoint, error) from error


def _ends(folder: Path, tokenizer: Any) -> tuple[int, ...]:
    files = [folder / name for name in ("generation_config.json", "config.json")]
    named = [json.loads(f.read_text("utf-8")).get("eos_token_id") for f in files if f.is_file()]
    return end_tokens(named, tokenizer)
