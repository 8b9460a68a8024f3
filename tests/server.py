"""A real OpenAI-compatible server on this machine, which can be told to misbehave.

It speaks HTTP on 127.0.0.1 and knows /v1/chat/completions, /v1/completions and /v1/models.
"""

import json
import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from srlm_kedro.engines.generation.base import Completion, GenerationEngine, Request, Sampling
from srlm_kedro.records import Checkpoint

Body = Mapping[str, Any]
Message = Mapping[str, str]
Answer = Callable[[Sequence[Message]], str]
Fault = int | tuple[int, float] | str | None
"""What goes wrong with one request.

A status (429, 500, 404, ...), a status with its Retry-After in seconds, or one of "garbage" (no
JSON), "odd" (JSON of another shape), "hang" (no answer), "cut" (half an answer), "fewer" (one
choice less than asked), "empty" (a choice without text). None: nothing.
"""


class Server:
    """What a test sees of a running server."""

    def __init__(self, url: str):
        self.url = url
        """The base address; ends in /v1."""
        self.requests: list[dict[str, Any]] = []
        """Bodies of the POST requests, in the order they came."""
        self.headers: list[dict[str, str]] = []
        """Their headers, names in lower case."""
        self.paths: list[str] = []
        """Their paths, like /v1/completions."""


@contextmanager
def serve(
    engine: GenerationEngine | Answer,
    model: Checkpoint | None = None,
    faults: Sequence[Fault] | Callable[[int, Body], Fault] = (),
    key: str | None = None,
    paths: Sequence[str] = ("chat/completions", "completions"),
    words: Sequence[str] = tuple(f"w{number}" for number in range(40)),
) -> Iterator[Server]:
    """A server that answers out of `engine` until the block is left.

    Args:
        engine: A generation engine, or a function from messages to an answer (a judge).
        model: What the engine draws with; requests for another name get a 404. None: any name.
        faults: One for each of the first requests, or a function of the request's number
            (0, 1, ...) and body.
        key: The key that callers have to show; None asks for none.
        paths: What the server can be asked for.
        words: Tokens whose probabilities it tells. A function as `engine` knows none.
    """
    backend = _Backend(engine, model, _as_function(faults), key, paths, words)
    http = _Http(("127.0.0.1", 0), type("Handler", (_Handler,), {"backend": backend}))
    backend.seen = Server(f"http://127.0.0.1:{http.server_address[1]}/v1")
    thread = threading.Thread(target=http.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield backend.seen
    finally:
        backend.closing.set()
        http.shutdown()
        http.server_close()
        thread.join()


class _Http(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A caller that went away is no news."""


class _Backend:
    """The state that all requests share."""

    def __init__(
        self,
        engine: GenerationEngine | Answer,
        model: Checkpoint | None,
        fault: Callable[[int, Body], Fault],
        key: str | None,
        paths: Sequence[str],
        words: Sequence[str],
    ):
        self.words = words
        self.engine, self.model, self.fault, self.key = engine, model, fault, key
        self.paths = [f"/v1/{path}" for path in paths]
        self.seen = Server("")
        self.closing = threading.Event()
        self._lock = threading.Lock()

    def note(self, path: str, body: dict[str, Any], headers: Mapping[str, str]) -> int:
        """The request's number."""
        with self._lock:
            self.seen.requests.append(body)
            self.seen.headers.append({name.lower(): value for name, value in headers.items()})
            self.seen.paths.append(path)
            return len(self.seen.requests) - 1

    def complete(self, body: Body, chat: bool) -> list[Completion]:
        """The completions that `body` asks for."""
        if not hasattr(self.engine, "generate"):
            text = self.engine(body["messages"] if chat else [_user(body["prompt"])])
            whole = Completion(text=text, tokens=len(text.split()) + 1, finish="stop")
            return [whole] * body.get("n", 1)
        seed = body.get("seed")
        seed = random.getrandbits(31) if seed is None else seed
        with self._lock:
            rows = self.engine.generate(self.model, [_request(body, chat)], _sampling(body), seed)
        return rows[0]

    def top(self, body: Body, chat: bool) -> dict[str, float]:
        """The words with the largest probabilities as the first token, the largest first."""
        count = body["top_logprobs"] if chat else body["logprobs"]
        choices = [(word,) for word in self.words]
        with self._lock:
            row = self.engine.choice_logprobs(self.model, [_request(body, chat)], choices)[0]
        ordered = sorted(zip(self.words, row, strict=True), key=lambda pair: -pair[1])
        return dict(ordered[:count])


class _Handler(BaseHTTPRequestHandler):
    backend: _Backend

    def do_GET(self) -> None:
        name = self.backend.model.name if self.backend.model else "judge"
        listed = {"object": "list", "data": [{"id": name, "object": "model"}]}
        self._send(200 if self.path == "/v1/models" else 404, listed)

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        number = self.backend.note(self.path, body, dict(self.headers))
        fault = self.backend.fault(number, body)
        if fault == "hang":
            self.backend.closing.wait(60)
        elif isinstance(fault, int):
            self._send(fault, _error(f"told to fail for {self._shown()}"))
        elif isinstance(fault, tuple):
            told = _error(f"told to fail for {self._shown()}")
            self._send(fault[0], told, {"Retry-After": str(fault[1])})
        elif (refusal := self._refusal(body)) is not None:
            self._send(*refusal)
        else:
            self._answer(body, fault)

    def _shown(self) -> str:
        """The caller's key."""
        return self.headers.get("Authorization", "").removeprefix("Bearer ")

    def _refusal(self, body: Body) -> tuple[int, dict[str, Any]] | None:
        shown = self._shown()
        if self.backend.key is not None and shown != self.backend.key:
            return 401, _error(f"Incorrect API key provided: {shown}")
        if self.path not in self.backend.paths:
            return 404, _error(f"Invalid URL (POST {self.path})")
        if self.backend.model is not None and body.get("model") != self.backend.model.name:
            return 404, _error(f"The model `{body.get('model')}` does not exist.")
        return None

    def _answer(self, body: Body, fault: Fault) -> None:
        chat = self.path.endswith("chat/completions")
        try:
            drawn = self.backend.complete(body, chat)
        except (ValueError, KeyError) as error:
            return self._send(400, _error(repr(error)))
        if fault == "fewer":
            drawn = drawn[:-1]
        reply = _reply(body, drawn, chat)
        if body.get("logprobs") and hasattr(self.backend.engine, "choice_logprobs"):
            reply["choices"][0]["logprobs"] = _logprobs(self.backend.top(body, chat), chat)
        if fault == "empty":
            reply["choices"][0].pop("message" if chat else "text")
        self._send(200, {"hello": 1} if fault == "odd" else reply, fault=fault)

    def _send(
        self,
        status: int,
        content: Any,
        headers: Mapping[str, str] | None = None,
        fault: Fault = None,
    ) -> None:
        data = b"<html>{" if fault == "garbage" else json.dumps(content).encode()
        self.send_response(status)
        every = {"Content-Type": "application/json", "Content-Length": str(len(data))}
        for name, value in (every | dict(headers or {})).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data[: len(data) // 2] if fault == "cut" else data)

    def log_message(self, *args: Any) -> None:
        """Says nothing."""


def _as_function(faults: Any) -> Callable[[int, Body], Fault]:
    if callable(faults):
        return faults
    return lambda number, body: faults[number] if number < len(faults) else None


def _request(body: Body, chat: bool) -> Request:
    """The request behind a body: two equal bodies with one seed get one answer."""
    if not chat:
        prompt = body["prompt"]
        return Request(id=prompt, prompt=prompt, chat=False)
    said = [m["content"] for m in body["messages"] if m["role"] != "system"]
    rules = [m["content"] for m in body["messages"] if m["role"] == "system"]
    said[0] = "\n\n".join([*rules, said[0]])
    history = tuple(zip(said[:-1:2], said[1:-1:2], strict=True))
    return Request(id=said[-1], prompt=said[-1], history=history)


def _sampling(body: Body) -> Sampling:
    stop = body.get("stop") or ()
    return Sampling(
        n=body.get("n", 1),
        temperature=body.get("temperature", 1.0),
        top_p=body.get("top_p", 1.0),
        max_new_tokens=body.get("max_completion_tokens") or body.get("max_tokens", 16),
        min_new_tokens=body.get("min_tokens", 0),
        stop=(stop,) if isinstance(stop, str) else tuple(stop),
    )


def _reply(body: Body, drawn: Sequence[Completion], chat: bool) -> dict[str, Any]:
    prompt = " ".join(m["content"] for m in body["messages"]) if chat else body["prompt"]
    asked, given = len(prompt.split()), sum(completion.tokens for completion in drawn)
    return {
        "id": "reply",
        "object": "chat.completion" if chat else "text_completion",
        "created": int(time.time()),
        "model": body.get("model", ""),
        "choices": [_choice(place, completion, chat) for place, completion in enumerate(drawn)],
        "usage": {
            "prompt_tokens": asked,
            "completion_tokens": given,
            "total_tokens": asked + given,
        },
    }


def _choice(place: int, completion: Completion, chat: bool) -> dict[str, Any]:
    text = {"message": {"role": "assistant", "content": completion.text}}
    return {
        "index": place,
        "finish_reason": completion.finish,
        **(text if chat else {"text": completion.text}),
    }


def _logprobs(top: Mapping[str, float], chat: bool) -> dict[str, Any]:
    """The first token's place, in the form of each path."""
    if not chat:
        return {"top_logprobs": [top]}
    tokens = [{"token": text, "logprob": number} for text, number in top.items()]
    return {"content": [{**tokens[0], "top_logprobs": tokens}]}


def _user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def _error(message: str) -> dict[str, Any]:
    return {"error": {"message": message, "type": "invalid_request_error", "code": None}}
