"""An OpenAI-compatible endpoint that fails as it is told to."""

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def number_of_words(content: str) -> str:
    """Of what was asked."""
    return str(len(content.split()))


@contextmanager
def endpoint(behave, reply=number_of_words, log_probabilities=None):
    """The URL of an endpoint that does what ``behave(request, number)`` says.

    That gives a status, or ``None`` to break the connection, and headers. What is answered is what
    ``reply`` makes of the last message, with these ``log_probabilities`` if any.
    """
    numbers = iter(range(10**6))

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            status, headers = behave(request, next(numbers))
            if status is None:
                return
            content = reply(request["messages"][-1]["content"])
            choice = {"index": 0, "finish_reason": "stop", "message": {"content": content}}
            if log_probabilities is not None:
                parts = [{"token": "", "logprob": one} for one in log_probabilities]
                choice["logprobs"] = {"content": parts}
            usage = {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4}
            answer = {"choices": [choice], "usage": usage}
            body = answer if status == 200 else {"error": {"message": f"no luck {status}"}}
            body = json.dumps(body).encode()
            self.send_response(status)
            for name, value in {"Content-Length": len(body), **headers}.items():
                self.send_header(name, str(value))
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/v1"
        server.shutdown()
