"""The HTTP side of stand-ins for `vllm serve`: completions of token ids, one at a time."""

import argparse
import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Complete = Callable[[dict[str, Any]], dict[str, Any]]
"""Takes the fields of a call, and gives those of its choice."""


def serve(load: Callable[[argparse.Namespace], Complete], longest: int = 128) -> None:
    """Serves until it is killed.

    Args:
        load: Takes the command line, and gives what completes.
        longest: Tokens of the longest sequence, unless the command line says.
    """
    options = _parser().parse_args()
    complete, lock = load(options), threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            entry = {
                "id": options.served_model_name,
                "max_model_len": options.max_model_len or longest,
            }
            self._answer(200, {"data": [entry]})

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            try:
                assert self.path == "/v1/completions"
                assert body["model"] == options.served_model_name
                with lock:
                    choice = complete(body)
            except Exception as error:
                self._answer(500, {"message": f"{type(error).__name__}: {error}"})
                return
            usage = {"prompt_tokens": len(body["prompt"]), "completion_tokens": 1}
            self._answer(200, {"choices": [choice], "usage": usage})

        def _answer(self, status: int, value: dict[str, Any]) -> None:
            content = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *args: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 64

    Server((options.host, options.port), Handler).serve_forever()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser()
    parser.add_argument("command", choices=["serve"])
    parser.add_argument("folder")
    for name in ("--host", "--served-model-name", "--dtype", "--generation-config", "--seed"):
        parser.add_argument(name, required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--max-model-len", type=int)
    parser.add_argument("--enable-prefix-caching", action="store_true", required=True)
    parser.add_argument("--disable-uvicorn-access-log", action="store_true")
    return parser
