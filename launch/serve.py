"""Answers over HTTP as OpenAI's chat completions do, whole or as streams.

    python -m launch.serve --checkpoint=runs/first --port=8000

    POST /v1/chat/completions   see ocijax/sample/chat_api.py
    GET /v1/models              the only model, named after the checkpoint or by --name
    GET /health                 how many slots there are, and how many are free

Requests share the slots; one whose client has gone away gives its slot back. SIGTERM and Ctrl-C
refuse new requests and let those under way finish, for --grace seconds; the second Ctrl-C ends them
at once. Whoever reaches the port may ask: nobody is told apart.
"""

import contextlib
import json
import select
import signal
import socket
import sys
import threading
import time
import traceback
import uuid
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from absl import flags

from ocijax.compiler import keep_compiled
from ocijax.errors import InputError
from ocijax.program import run
from ocijax.sample.chat_api import (
    DEFAULTS,
    UNLIMITED,
    ChatRequest,
    Reply,
    RequestError,
    error_json,
    models_json,
    parse_request,
)
from ocijax.sample.loading import load_sampler
from ocijax.sample.sampler import Sampler
from ocijax.sample.settings import SamplingSettings
from ocijax.train.checkpoint import checkpoint_folder

_LONGEST_BODY = 16 << 20
"""Bytes; of what is longer, four times as much is read away, so that the refusal is heard."""
_SILENCE = 60.0
"""Seconds after which a client that neither reads nor writes is gone."""
_METHODS = {"/v1/chat/completions": "POST", "/v1/models": "GET", "/health": "GET"}


class Server(ThreadingHTTPServer):
    """Serves one model; ``serve_forever`` answers until `stop`.

    Args:
      address: host and port; port 0 takes a free one.
      sampler: answers.
      model: its name.
      most_requests: at once; others are told to come again.
      defaults: of what requests leave out.

    Raises:
      InputError: the address cannot be had.
    """

    daemon_threads = True
    request_queue_size = 1024

    def __init__(
        self,
        address: tuple[str, int],
        sampler: Sampler,
        model: str,
        most_requests: int = 1024,
        defaults: SamplingSettings = DEFAULTS,
    ):
        self.sampler = sampler
        self.model = model
        self.defaults = defaults
        self.created = int(time.time())
        self.ending = threading.Event()
        self._most_requests = most_requests
        self._requests = 0
        self._stopping = False
        self._changed = threading.Condition()
        try:
            super().__init__(address, _Handler)
        except (OSError, OverflowError) as error:
            raise InputError(f"--host={address[0]} --port={address[1]}: {error}") from error

    @property
    def url(self) -> str:
        """What clients take as their base URL."""
        return f"http://{self.server_address[0]}:{self.server_port}/v1"

    @contextlib.contextmanager
    def request(self) -> Iterator[None]:
        """A request is answered inside.

        Raises:
          RequestError: none is taken now.
        """
        with self._changed:
            if self._stopping:
                raise RequestError("the server is stopping", 503)
            if self._requests >= self._most_requests:
                message = f"{self._requests} requests are being answered already; come again"
                raise RequestError(message, 503, retry_after=1)
            self._requests += 1
        try:
            yield
        finally:
            with self._changed:
                self._requests -= 1
                self._changed.notify_all()

    def stop(self, grace: float) -> None:
        """Takes no request any more, and returns when those under way have been answered.

        Args:
          grace: seconds after which they are given up.
        """
        with self._changed:
            self._stopping = True
        self.shutdown()
        with self._changed:
            if not self._changed.wait_for(lambda: not self._requests, grace):
                self.ending.set()
                self._changed.wait_for(lambda: not self._requests, _SILENCE)
        self.server_close()

    def handle_error(self, request, client_address) -> None:
        """Says nothing of clients that have gone away."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    """Answers the requests of one connection."""

    server: Server
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "ocijax", ""
    timeout = _SILENCE
    disable_nagle_algorithm = True

    def _answer(self) -> None:
        self._begun = False
        try:
            with self._gone_is_the_end():
                self._route()
        except RequestError as error:
            self._refuse(error)
        except InputError as error:
            self._refuse(RequestError(str(error)))
        except Exception:
            traceback.print_exc()
            self._refuse(RequestError("the server has failed; its log says why", 500))

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = _answer

    @contextlib.contextmanager
    def _gone_is_the_end(self) -> Iterator[None]:
        """Ends the connection where the client has ended it."""
        try:
            yield
        except (ConnectionError, TimeoutError):
            self.close_connection = True

    def _route(self) -> None:
        path = self.path.split("?")[0]
        body = self._body()
        if path not in _METHODS:
            raise RequestError(f"there is no {path}; there are {', '.join(_METHODS)}", 404)
        if self.command != _METHODS[path]:
            raise RequestError(f"{path} takes {_METHODS[path]}, not {self.command}", 405)
        if path == "/health":
            sampler = self.server.sampler
            status = {"status": "ok", "slots": sampler.slots, "free_slots": sampler.free_slots}
            self._send(200, status)
        elif path == "/v1/models":
            self._send(200, models_json(self.server.model, self.server.created))
        else:
            with self.server.request():
                self._chat(body)

    def _body(self) -> bytes:
        if "Transfer-Encoding" in self.headers:
            raise RequestError("give a Content-Length instead of a Transfer-Encoding")
        length = self.headers.get("Content-Length", "0")
        if not length.isdecimal():
            raise RequestError("Content-Length is not a number of bytes")
        length = int(length)
        if length <= _LONGEST_BODY:
            return self.rfile.read(length)
        left = min(length, 4 * _LONGEST_BODY)
        while left and (piece := self.rfile.read(min(left, 1 << 16))):
            left -= len(piece)
        raise RequestError(f"the body has {length} bytes, more than {_LONGEST_BODY}", 413)

    def _chat(self, body: bytes) -> None:
        identity = f"chatcmpl-{uuid.uuid4().hex}"
        try:
            content = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise RequestError(f"the body is not JSON: {error}") from error
        asked = parse_request(content, self.server.model, identity, self.server.defaults)
        sampler = self.server.sampler
        tokens = sampler.prompt_tokens(asked.conversation)
        reply = Reply(identity, int(time.time()), self.server.model, tokens, sampler.token_text)
        if asked.stream:
            self._stream(asked, reply)
        else:
            completions = sampler.generate(
                asked.conversations, asked.settings, lambda index, text: self._go_on()
            )
            self._send(200, reply.whole(completions))

    def _stream(self, asked: ChatRequest, reply: Reply) -> None:
        begun = set()

        def follow(index: int, text: str) -> None:
            self._go_on()
            if index not in begun:
                begun.add(index)
                self._event(reply.begin(index))
            if text:
                self._event(reply.text(index, text))

        completions = self.server.sampler.generate(asked.conversations, asked.settings, follow)
        for index, completion in enumerate(completions):
            self._event(reply.end(index, completion))
        if asked.include_usage:
            self._event(reply.usage(completions))
        self._write(b"data: [DONE]\n\n")

    def _go_on(self) -> None:
        """Gives the answer up where nobody waits for it or the server ends."""
        if self.server.ending.is_set():
            raise RequestError("the server is stopping", 503)
        readable = select.poll()
        readable.register(self.connection, select.POLLIN | select.POLLRDHUP)
        if readable.poll(0) and not self.connection.recv(1, socket.MSG_PEEK):
            raise ConnectionAbortedError

    def _event(self, content: Any) -> None:
        """Sends a part of a stream, which ends with the connection."""
        if not self._begun:
            self._begun = True
            self.close_connection = True
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream; charset=utf-8")
            self.send_header("Cache-Control", "no-cache")
            self.send_header("Connection", "close")
            self.end_headers()
        self._write(b"data: " + json.dumps(content).encode() + b"\n\n")

    def _refuse(self, error: RequestError) -> None:
        with self._gone_is_the_end():
            if self._begun:
                self._event(error_json(error))
                return
            headers = {"Connection": "close"}
            if error.status == 405:
                headers["Allow"] = _METHODS[self.path.split("?")[0]]
            if error.retry_after is not None:
                headers["Retry-After"] = str(error.retry_after)
            self.close_connection = True
            self._send(error.status, error_json(error), headers)

    def _send(self, status: int, content: Any, headers: dict[str, str] | None = None) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self._write(body)

    def _write(self, content: bytes) -> None:
        self.wfile.write(content)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """What the base class cannot read, refused as everything else is."""
        self._begun = False
        self._refuse(
            RequestError(explain or message or "not understood", 400 if code > 500 else code)
        )

    def log_message(self, *_) -> None:
        """Says nothing of requests."""


def _compile_ahead(sampler: Sampler) -> None:
    try:
        sampler.compile_ahead()
    except InputError as error:
        raise InputError(
            f"{error}; lower --slots or --context, or give --nocompile_ahead, with which slots "
            "grow as they are needed"
        ) from error


def main() -> None:
    """Loads the model and serves it until SIGTERM or Ctrl-C."""
    values = flags.FLAGS
    defaults = SamplingSettings(
        values.max_new_tokens or UNLIMITED, values.temperature, values.top_p, top_k=values.top_k
    )
    keep_compiled(values.compilation_cache)
    folder = checkpoint_folder(values.checkpoint)
    sampler, _ = load_sampler(
        folder,
        values.dtype,
        values.tensor,
        values.template,
        slots=values.slots,
        context=values.context,
        decode_steps=values.decode_steps,
        draft_tokens=values.draft_tokens,
        int8_weights=values.int8_weights,
        int8_cache=values.int8_cache,
    )
    name = values.name or Path(values.checkpoint).absolute().name
    server = Server((values.host, values.port), sampler, name, values.requests, defaults)
    if values.compile_ahead:
        print("compiling all programs", file=sys.stderr, flush=True)
        _compile_ahead(sampler)
    stop = threading.Event()

    def stop_once(number, frame):
        del number, frame
        signal.signal(signal.SIGINT, signal.default_int_handler)
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop_once)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(f"serving {name} at {server.url}", flush=True)
    stop.wait()
    print("stopping; answers under way are finished first", file=sys.stderr)
    server.stop(values.grace)


if __name__ == "__main__":
    flags.DEFINE_string(
        "checkpoint",
        None,
        "Checkpoint, training workdir or Hugging Face folder of the model.",
        required=True,
    )
    flags.DEFINE_string("template", "", "Chat template; by default the checkpoint's own.")
    flags.DEFINE_string("name", "", "Of the model, for clients; by default the checkpoint's.")
    flags.DEFINE_string("host", "127.0.0.1", "Address to listen at; 0.0.0.0 for all.")
    flags.DEFINE_integer("port", 8000, "0 for a free one.", lower_bound=0, upper_bound=65535)
    flags.DEFINE_integer("slots", 64, "Most answers written at once.", lower_bound=1)
    flags.DEFINE_integer("requests", 1024, "Most requests at once.", lower_bound=1)
    flags.DEFINE_integer(
        "context", None, "Most tokens of prompt and answer; by default the model's.", lower_bound=2
    )
    flags.DEFINE_integer("decode_steps", 8, "Tokens between two parts of a stream.", lower_bound=1)
    flags.DEFINE_integer(
        "draft_tokens", 0, "Tokens looked up in the conversation for each forward.", lower_bound=0
    )
    flags.DEFINE_integer(
        "max_new_tokens",
        None,
        "Most tokens of an answer, where a request does not say; by default what --context leaves.",
        lower_bound=1,
    )
    flags.DEFINE_float("temperature", 1.0, "Where a request does not say.", lower_bound=0.0)
    flags.DEFINE_float(
        "top_p", 1.0, "Where a request does not say.", lower_bound=0.0, upper_bound=1.0
    )
    flags.DEFINE_integer("top_k", 0, "Where a request does not say; 0: all.", lower_bound=0)
    flags.DEFINE_bool("int8_weights", False, "Hold the layers' weights in eight bits.")
    flags.DEFINE_bool("int8_cache", False, "Hold keys and values in eight bits.")
    flags.DEFINE_bool(
        "compile_ahead", True, "Compile all programs first; otherwise when first needed."
    )
    flags.DEFINE_integer("tensor", 1, "Devices that share each matrix.", lower_bound=1)
    flags.DEFINE_enum("dtype", "", ["", "float32", "bfloat16"], "Of the model; by the device.")
    flags.DEFINE_float("grace", 20.0, "Seconds for answers under way at the end.", lower_bound=0.0)
    flags.DEFINE_string(
        "compilation_cache",
        None,
        "Folder for compiled programs, '' for none; by default JAX_COMPILATION_CACHE_DIR, or"
        " ~/.cache/ocijax/compiled.",
    )
    run(main)
