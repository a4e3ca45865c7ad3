"""A generator that asks an OpenAI-compatible endpoint."""

import hashlib
import json
import os
import threading
from collections.abc import MutableMapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict
from typing import Any

from ocijax.conversation import Conversation, conversation_to_row
from ocijax.errors import InputError
from ocijax.sample.settings import Completion, SamplingSettings


class Endpoint:
    """Asks an endpoint for chat completions; see `ocijax.sample.settings.Generator`.

    What fails for a while (a lost connection, 408, 409, 429, 5xx) is asked again, after as long as
    the endpoint says or ever longer. Where that does not help, the call ends with an error, and the
    answers that it has got are kept: the same call, made again, asks for the others only.

    Example::

      endpoint = Endpoint("http://127.0.0.1:8000/v1", "first")
      [completion] = endpoint.generate([conversation], SamplingSettings(temperature=0.8))

    Args:
      url: of the endpoint, up to what comes before ``/chat/completions``.
      model: which of its models.
      api_key: by default that of OPENAI_API_KEY; endpoints of one's own want none.
      concurrency: most requests at once, of all calls together.
      retries: how often what fails is asked again.
      timeout: seconds that an answer may take.
      kept: where answers of calls that failed are kept; a mapping on disk, such as `shelve` has,
        keeps them for the next process too. It is used in the threads that call `generate`, one at
        a time.

    Attributes:
      prompt_tokens: that the endpoint says it has read, so far.
      completion_tokens: that it says it has generated.

    Raises:
      InputError: the openai package is not installed.
    """

    def __init__(
        self,
        url: str,
        model: str,
        *,
        api_key: str | None = None,
        concurrency: int = 8,
        retries: int = 6,
        timeout: float = 600.0,
        kept: MutableMapping[str, Any] | None = None,
    ):
        try:
            import openai
        except ImportError as error:
            raise InputError(
                "asking an endpoint needs the openai package: pip install 'ocijax[endpoint]'"
            ) from error
        self._url = url
        self._model = model
        self._client = openai.OpenAI(
            base_url=url,
            api_key=api_key or os.environ.get("OPENAI_API_KEY") or "none",
            max_retries=retries,
            timeout=timeout,
        )
        self._threads = ThreadPoolExecutor(concurrency, thread_name_prefix="endpoint")
        self._lock = threading.Lock()
        self._kept = {} if kept is None else kept
        self.prompt_tokens = 0
        self.completion_tokens = 0

    @property
    def name(self) -> str:
        """Model and endpoint, for a record of who answered."""
        return f"{self._model} at {self._url}"

    def generate(
        self, conversations: Sequence[Conversation], settings: SamplingSettings
    ) -> list[Completion]:
        """One completion for each conversation, in order; which tokens they are is not known.

        Raises:
          InputError: a conversation is not answered; names the endpoint and its last error.
        """
        keys = [self._key(index, one, settings) for index, one in enumerate(conversations)]
        with self._lock:
            known = {key: self._kept[key] for key in keys if key in self._kept}
        ended = threading.Event()
        asked = {
            self._threads.submit(self._ask, ended, index, one, settings): index
            for index, one in enumerate(conversations)
            if keys[index] not in known
        }
        failure: tuple[int, BaseException] | None = None
        try:
            for answer in as_completed(asked):
                index = asked[answer]
                if error := answer.exception():
                    failure = failure or (index, error)
                elif answer.result() is not None:
                    known[keys[index]] = self._keep(keys[index], answer.result(), settings)
        finally:
            ended.set()
        if failure is not None:
            index, error = failure
            raise InputError(
                f"{self._url}: conversation {conversations[index].id}: {_reason(error)}; "
                f"{len(known)} of {len(keys)} answers are there and kept: ask again for the others"
            ) from error
        with self._lock:
            for key in keys:
                self._kept.pop(key, None)
        rows = [known[key] for key in keys]
        return [
            Completion(
                row["text"],
                (),
                row["finish_reason"],
                tuple(row["log_probabilities"]),
                row.get("counted", 0),
            )
            for row in rows
        ]

    def forget(self, conversation: Conversation) -> None:
        """Endpoints are not told."""

    def _ask(
        self,
        ended: threading.Event,
        index: int,
        conversation: Conversation,
        settings: SamplingSettings,
    ) -> Any:
        """The endpoint's answer; ``None`` where another one's failure has ended the call."""
        if ended.is_set():
            return None
        try:
            return self._request(index, conversation, settings)
        except BaseException:
            ended.set()
            raise

    def _request(self, index: int, conversation: Conversation, settings: SamplingSettings) -> Any:
        optional: dict[str, Any] = {"stop": list(settings.stop)} if settings.stop else {}
        if settings.log_probabilities:
            optional["logprobs"] = True
        if settings.top_k:
            optional["extra_body"] = {"top_k": settings.top_k}
        answer = self._client.chat.completions.create(
            model=self._model,
            messages=conversation_to_row(conversation)["messages"],
            max_completion_tokens=settings.max_new_tokens,
            temperature=settings.temperature,
            top_p=settings.top_p,
            # Equal conversations of one call are drawn apart.
            seed=(settings.seed * 65_537 + index) % 2**31,
            **optional,
        )
        if not getattr(answer, "choices", None):
            raise InputError("what it answers is no chat completion; is the URL right?")
        if settings.log_probabilities and _log_probabilities(answer.choices[0]) is None:
            raise InputError("it gives no log-probabilities; ask without, or another endpoint")
        return answer

    def _keep(self, key: str, answer: Any, settings: SamplingSettings) -> dict[str, Any]:
        """Text and end of an answer, which are kept until the call is done."""
        [choice, *_] = answer.choices
        row = {
            "text": choice.message.content or "",
            "finish_reason": "length" if choice.finish_reason == "length" else "stop",
            "log_probabilities": _log_probabilities(choice) if settings.log_probabilities else [],
            "counted": answer.usage.completion_tokens if answer.usage else 0,
        }
        with self._lock:
            self._kept[key] = row
            if answer.usage:
                self.prompt_tokens += answer.usage.prompt_tokens
                self.completion_tokens += answer.usage.completion_tokens
        return row

    def _key(self, index: int, conversation: Conversation, settings: SamplingSettings) -> str:
        asked = [self._url, self._model, index, conversation_to_row(conversation), asdict(settings)]
        return hashlib.sha256(json.dumps(asked).encode()).hexdigest()


def _log_probabilities(choice: Any) -> list[float] | None:
    """Those of an answer's tokens; ``None`` where the endpoint gives none."""
    content = choice.logprobs and choice.logprobs.content
    return None if content is None else [token.logprob for token in content]


def _reason(error: BaseException) -> str:
    """One line; a lost connection's own message does not say how."""
    cause = error.__cause__
    return " ".join(str(part).strip() for part in (error, cause and f"({cause})") if part)
