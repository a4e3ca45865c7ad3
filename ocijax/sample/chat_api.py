"""OpenAI's chat completions: a request's JSON as conversation and settings, answers as JSON.

A field that would change the answer and that we do not have is refused, never passed over.
"""

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ocijax.conversation import Conversation, Message, parse_message
from ocijax.errors import InputError
from ocijax.sample.settings import Completion, SamplingSettings

Json = dict[str, Any]

_MOST_ANSWERS = 128
UNLIMITED = 2**31 - 1
"""As many tokens as the context leaves."""
DEFAULTS = SamplingSettings(UNLIMITED, temperature=1.0)
"""OpenAI's, for what a request leaves out."""

_WITHOUT_EFFECT = {
    "metadata",
    "prompt_cache_key",
    "safety_identifier",
    "service_tier",
    "store",
    "user",
}
"""Fields that change no answer."""

_NEUTRAL: Json = {
    "audio": None,
    "frequency_penalty": 0,
    "function_call": "none",
    "functions": [],
    "logit_bias": {},
    "modalities": ["text"],
    "parallel_tool_calls": True,
    "prediction": None,
    "presence_penalty": 0,
    "reasoning_effort": None,
    "response_format": {"type": "text"},
    "tool_choice": "none",
    "tools": [],
    "top_logprobs": 0,
    "verbosity": None,
    "web_search_options": None,
}
"""Fields that we do not have, with the value that asks for nothing."""


class RequestError(InputError):
    """A request that is not answered.

    Attributes:
      status: of HTTP.
      parameter: the field that is wrong, if it is one.
      code: OpenAI's name for it, if it has one.
      retry_after: seconds after which it may be answered; ``None`` where it never is.
    """

    def __init__(
        self,
        message: str,
        status: int = 400,
        parameter: str | None = None,
        code: str | None = None,
        retry_after: int | None = None,
    ):
        super().__init__(message)
        self.status = status
        self.parameter = parameter
        self.code = code
        self.retry_after = retry_after


@dataclass(frozen=True)
class ChatRequest:
    """What is asked.

    Attributes:
      conversation: to answer.
      settings: how.
      answers: how many.
      stream: whether text is sent as it comes.
      include_usage: whether a stream ends with its usage.
    """

    conversation: Conversation
    settings: SamplingSettings
    answers: int = 1
    stream: bool = False
    include_usage: bool = False

    @property
    def conversations(self) -> list[Conversation]:
        """One for each answer."""
        return [self.conversation] * self.answers


def parse_request(
    body: Any, model: str, identity: str, defaults: SamplingSettings = DEFAULTS
) -> ChatRequest:
    """The request of a JSON body.

    Args:
      body: as `json.loads` gives it.
      model: name of the only one there is.
      identity: of the conversation.
      defaults: what is absent or null, but for the seed, which is another one each time then.

    Raises:
      RequestError: the message says which field is wrong and why.
    """
    if not isinstance(body, dict):
        raise RequestError("the body is not a JSON object")
    fields = {name: value for name, value in body.items() if value is not None}
    asked = _take(fields, "model", str, None)
    if asked is None:
        raise RequestError(f"model is missing; there is {model!r}", parameter="model")
    if asked != model:
        message = f"there is no model {asked!r}, only {model!r}"
        raise RequestError(message, 404, "model", "model_not_found")
    messages = _messages(_take(fields, "messages", list, []))
    stream = _take(fields, "stream", bool, False)
    options = _take(fields, "stream_options", dict, {})
    if options and not stream:
        raise RequestError("stream_options is for streams", parameter="stream_options")
    include_usage = bool(options.get("include_usage"))
    answers = _take(fields, "n", int, 1)
    if not 1 <= answers <= _MOST_ANSWERS:
        raise RequestError(f"n must be from 1 to {_MOST_ANSWERS}, is {answers}", parameter="n")
    settings = _settings(fields, defaults)
    for name, value in fields.items():
        if name not in _WITHOUT_EFFECT and (name not in _NEUTRAL or value != _NEUTRAL[name]):
            raise RequestError(f"{name} is not supported; leave it out", parameter=name)
    return ChatRequest(Conversation(identity, messages), settings, answers, stream, include_usage)


def _settings(fields: Json, defaults: SamplingSettings) -> SamplingSettings:
    older = _take(fields, "max_tokens", int, defaults.max_new_tokens)
    longest = _take(fields, "max_completion_tokens", int, older)
    stop = fields.pop("stop", defaults.stop)
    stop = [stop] if isinstance(stop, str) else stop
    if not isinstance(stop, list | tuple) or not all(isinstance(one, str) for one in stop):
        raise RequestError("stop is neither text nor a list of texts", parameter="stop")
    seed = _take(fields, "seed", int, None)
    try:
        return replace(
            defaults,
            max_new_tokens=min(longest, UNLIMITED),
            temperature=_take(fields, "temperature", float, defaults.temperature),
            top_p=_take(fields, "top_p", float, defaults.top_p),
            seed=secrets.randbits(32) if seed is None else seed % 2**32,
            stop=tuple(stop),
            top_k=_take(fields, "top_k", int, defaults.top_k),
            log_probabilities=_take(fields, "logprobs", bool, False),
        )
    except RequestError:
        raise
    except InputError as error:
        raise RequestError(str(error)) from error


_KINDS = {
    bool: "true or false",
    dict: "an object",
    float: "a number",
    int: "a whole number",
    list: "a list",
    str: "text",
}


def _take(fields: Json, name: str, kind: type, default: Any) -> Any:
    """Takes a field out, of that kind or absent."""
    if name not in fields:
        return default
    value = fields.pop(name)
    # In JSON true is no number, and 1 is one of either kind.
    fits = isinstance(value, float | int if kind is float else kind)
    if not fits or (isinstance(value, bool) and kind is not bool):
        raise RequestError(f"{name} is not {_KINDS[kind]}", parameter=name)
    return value


def _messages(rows: list[Any]) -> tuple[Message, ...]:
    if not rows:
        raise RequestError("messages is missing or empty", parameter="messages")
    return tuple(_message(row, f"message {index}") for index, row in enumerate(rows))


def _message(row: Any, place: str) -> Message:
    if not isinstance(row, dict):
        raise RequestError(f"{place} is not a JSON object", parameter="messages")
    for name, value in row.items():
        # What the client was given as an answer has fields that are empty.
        if value and name not in ("role", "content", "name"):
            message = f"{place} has {name}, which is not supported"
            raise RequestError(message, parameter="messages")
    role = "system" if row.get("role") == "developer" else row.get("role")
    try:
        return parse_message({"role": role, "content": _content(row.get("content"))}, place)
    except InputError as error:
        raise RequestError(str(error), parameter="messages") from error


def _content(content: Any) -> Any:
    """A message's text, which may come in parts; what is no text stays what it is."""
    if not isinstance(content, list):
        return content
    parts = [part if isinstance(part, dict) else {} for part in content]
    if any(part.get("type") != "text" or not isinstance(part.get("text"), str) for part in parts):
        raise InputError("content has parts that are not text, which is not supported")
    return "".join(part["text"] for part in parts)


def error_json(error: RequestError) -> Json:
    """What a refused request is answered."""
    kind = "invalid_request_error" if error.status < 500 else "server_error"
    fields = {"message": str(error), "type": kind, "param": error.parameter, "code": error.code}
    return {"error": fields}


def models_json(model: str, created: int) -> Json:
    """The list of the only model."""
    row = {"id": model, "object": "model", "created": created, "owned_by": "ocijax"}
    return {"object": "list", "data": [row]}


@dataclass(frozen=True)
class Reply:
    """Makes the JSON that answers one request.

    Attributes:
      identity: of the answer.
      created: when, in seconds since 1970.
      model: what answered.
      prompt_tokens: of the conversation.
      token_text: gives the text of a token.
    """

    identity: str
    created: int
    model: str
    prompt_tokens: int
    token_text: Callable[[int], str]

    def whole(self, completions: Sequence[Completion]) -> Json:
        """All answers at once."""
        choices = [
            {
                "index": index,
                "message": {"role": "assistant", "content": one.text, "refusal": None},
                "logprobs": self._scores(one),
                "finish_reason": one.finish_reason,
            }
            for index, one in enumerate(completions)
        ]
        return self._json("chat.completion", choices) | {"usage": self._usage(completions)}

    def text(self, index: int, text: str) -> Json:
        """A part of a streamed answer."""
        return self._chunk(index, {"content": text}, None)

    def begin(self, index: int) -> Json:
        """What comes before the first part of a streamed answer."""
        return self._chunk(index, {"role": "assistant", "content": ""}, None)

    def end(self, index: int, completion: Completion) -> Json:
        """What comes after the last part of a streamed answer: why it ended, and all scores."""
        return self._chunk(index, {}, completion.finish_reason, self._scores(completion))

    def usage(self, completions: Sequence[Completion]) -> Json:
        """What a stream took."""
        return self._json("chat.completion.chunk", []) | {"usage": self._usage(completions)}

    def _scores(self, completion: Completion) -> Json | None:
        """The log-probability of each token, where they were asked for."""
        if not completion.log_probabilities:
            return None
        scored = zip(completion.tokens, completion.log_probabilities, strict=True)
        return {
            "content": [
                {
                    "token": self.token_text(token),
                    "logprob": score,
                    "bytes": None,
                    "top_logprobs": [],
                }
                for token, score in scored
            ],
            "refusal": None,
        }

    def _chunk(
        self, index: int, delta: Json, finish_reason: str | None, scores: Json | None = None
    ) -> Json:
        choice = {
            "index": index,
            "delta": delta,
            "logprobs": scores,
            "finish_reason": finish_reason,
        }
        return self._json("chat.completion.chunk", [choice])

    def _json(self, kind: str, choices: list[Json]) -> Json:
        return {
            "id": self.identity,
            "object": kind,
            "created": self.created,
            "model": self.model,
            "choices": choices,
        }

    def _usage(self, completions: Sequence[Completion]) -> Json:
        generated = sum(len(one.tokens) for one in completions)
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": generated,
            "total_tokens": self.prompt_tokens + generated,
        }
