"""The sampler: answers conversations with a model on this machine's devices."""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

import jax
import numpy as np
from jax.sharding import Mesh

from ocijax.conversation import Conversation
from ocijax.errors import InputError
from ocijax.model.config import ModelConfig
from ocijax.model.decoder import ComputeConfig
from ocijax.model.parameters import Parameters
from ocijax.sample.decoding import Cache, Draws, Rows, decode, prefill, resize
from ocijax.sample.settings import Completion, SamplingSettings
from ocijax.sharding import MeshConfig, axis_size, make_mesh
from ocijax.template import Template, tokenize
from ocijax.tokenizer import Tokenizer

_SMALLEST_LENGTH = 64
_FEWER_ROWS = 4
"""A batch shrinks to its unfinished rows where so many times fewer will do: each size of a batch
is a program to compile."""


@dataclass
class _Answer:
    """One answer under way, on the host."""

    index: int
    prompt: np.ndarray
    limit: int
    tokens: list[int] = field(default_factory=list)
    finish_reason: str | None = None

    @property
    def position(self) -> int:
        """Where its last token stands."""
        return len(self.prompt) + len(self.tokens) - 1


class Sampler:
    """Answers batches of conversations; see `ocijax.sample.settings.Generator`.

    Batches are of similar prompt lengths, and their sizes and lengths are rounded up to powers of
    two, so that few programs are compiled whatever is asked; temperature, top-p, seeds and limits
    compile nothing.

    Example::

      sampler = Sampler(*load_model("runs/first"))
      [completion] = sampler.generate([conversation], SamplingSettings(temperature=0.8))

    Args:
      config: the model's shape.
      parameters: on the mesh, as `ocijax.train.checkpoint.load_model` gives them.
      tokenizer: the model's.
      template: the model's.
      compute: how the forward runs; its ``remat`` is of no account here.
      mesh: where the parameters are; the first device alone by default.
      max_batch: most conversations answered at once.
      decode_steps: tokens generated between two looks at stop strings.
      observe: called with the number of answers finished since the last call.

    Raises:
      InputError: the tokenizer lacks the template's special tokens.
    """

    def __init__(
        self,
        config: ModelConfig,
        parameters: Parameters,
        tokenizer: Tokenizer,
        template: Template,
        *,
        compute: ComputeConfig | None = None,
        mesh: Mesh | None = None,
        max_batch: int = 64,
        decode_steps: int = 16,
        observe: Callable[[int], None] = lambda finished: None,
    ):
        self._mesh = make_mesh(MeshConfig(), jax.local_devices()[:1]) if mesh is None else mesh
        compute = dataclasses.replace(compute or ComputeConfig(), remat="none", scan_layers=False)
        # Cast once, not at every dispatch; arrays of that dtype are not copied.
        self._parameters = {path: array.astype(compute.dtype) for path, array in parameters.items()}
        self._context = config.max_position_embeddings
        self._tokenizer = tokenizer
        self._template = template
        static = {"config": config, "compute": compute, "mesh": self._mesh}
        self._prefill = partial(prefill, self._parameters, **static)
        self._decode = partial(decode, self._parameters, steps=decode_steps, **static)
        self._max_batch = max_batch
        self._decode_steps = decode_steps
        self._end_of_turn = template.special_ids(tokenizer)[template.end_of_turn]
        self._observe = observe

    def generate(
        self, conversations: Sequence[Conversation], settings: SamplingSettings
    ) -> list[Completion]:
        """One completion for each conversation, in order.

        Draws depend on ``settings.seed`` and the conversation's index in this call, not on what
        else is in its batch.

        Raises:
          InputError: a conversation does not end with a user turn, or leaves no room for an answer
            in the model's context.
        """
        answers = [
            self._begin(index, conversation, settings)
            for index, conversation in enumerate(conversations)
        ]
        # Neighbours in length share a batch: the shorter ones waste little.
        order = sorted(answers, key=lambda answer: len(answer.prompt))
        for start in range(0, len(order), self._max_batch):
            self._answer(order[start : start + self._max_batch], settings)
        return [self._completion(answer, settings) for answer in answers]

    def _begin(self, index: int, conversation: Conversation, settings: SamplingSettings) -> _Answer:
        if not conversation.messages or conversation.messages[-1].role != "user":
            raise InputError(
                f"conversation {conversation.id}: does not end with a user turn to answer"
            )
        prompt = tokenize(conversation, self._template, self._tokenizer).tokens
        room = self._context - len(prompt)
        if room < 1:
            raise InputError(
                f"conversation {conversation.id}: its {len(prompt)} tokens leave no room for an "
                f"answer in the model's context of {self._context}; shorten it"
            )
        return _Answer(index, prompt, min(settings.max_new_tokens, room))

    def _answer(self, batch: Sequence[_Answer], settings: SamplingSettings) -> None:
        """Runs one batch to its end."""
        draws = Draws(
            np.uint32(settings.seed),
            np.float32(settings.temperature),
            np.float32(settings.top_p),
        )
        stop_ids = np.array([self._end_of_turn], np.int32)
        rows = list(batch)
        cache, tokens = self._read(rows, draws)
        unfinished = self._extend(rows, np.asarray(tokens)[:, None], settings)
        while unfinished:
            cache, rows = self._fit(cache, rows, unfinished)
            cache, tokens = self._decode(cache, self._rows(rows, cache), stop_ids, draws)
            unfinished = self._extend(rows, np.asarray(tokens), settings)

    def _read(self, rows: Sequence[_Answer], draws: Draws) -> tuple[Cache, jax.Array]:
        """Prefills the prompts."""
        size = self._batch_size(len(rows))
        length = self._bucket(max(len(answer.prompt) for answer in rows))
        tokens = np.zeros((size, length), np.int32)
        for row, answer in zip(tokens, rows, strict=False):
            row[: len(answer.prompt)] = answer.prompt
        lengths = _column([len(answer.prompt) for answer in rows], size)
        indices = _column([answer.index for answer in rows], size)
        return self._prefill(tokens, lengths, indices, draws)

    def _fit(
        self, cache: Cache, rows: list[_Answer], unfinished: list[_Answer]
    ) -> tuple[Cache, list[_Answer]]:
        """A cache with room for the next steps, without finished rows where these are many."""
        size, _, slots, _ = cache[0].keys.shape
        kept, kept_size = rows, size
        if self._batch_size(len(unfinished)) * _FEWER_ROWS <= size:
            kept, kept_size = unfinished, self._batch_size(len(unfinished))
        # The last token of an answer needs no slot.
        ends = (
            min(answer.position + self._decode_steps, len(answer.prompt) + answer.limit - 1)
            for answer in unfinished
        )
        needed = max(slots, self._bucket(max(ends)))
        if (kept_size, needed) == (size, slots):
            return cache, rows
        places = {id(answer): place for place, answer in enumerate(rows)}
        source = _column([places[id(answer)] for answer in kept], kept_size)
        return resize(cache, source, mesh=self._mesh, slots=needed), kept

    def _rows(self, rows: Sequence[_Answer], cache: Cache) -> Rows:
        """What one dispatch of `decode` needs to know; rows that are finished rest."""
        size = len(cache[0].keys)
        return Rows(
            tokens=_column([answer.tokens[-1] for answer in rows], size),
            positions=_column([answer.position for answer in rows], size),
            counts=_column([len(answer.tokens) for answer in rows], size),
            limits=_column([0 if answer.finish_reason else answer.limit for answer in rows], size),
            indices=_column([answer.index for answer in rows], size),
        )

    def _extend(
        self, rows: Sequence[_Answer], generated: np.ndarray, settings: SamplingSettings
    ) -> list[_Answer]:
        """Adds what was generated ``[batch, steps]``; returns the answers that are unfinished."""
        before = [answer for answer in rows if not answer.finish_reason]
        for answer, tokens in zip(rows, generated, strict=False):
            if not answer.finish_reason:
                self._extend_one(answer, tokens[tokens >= 0].tolist(), settings.stop)
        unfinished = [answer for answer in before if not answer.finish_reason]
        if len(unfinished) < len(before):
            self._observe(len(before) - len(unfinished))
        return unfinished

    def _extend_one(self, answer: _Answer, new: list[int], stop: tuple[str, ...]) -> None:
        start = len(answer.tokens)
        answer.tokens += new
        if self._stopped(answer.tokens, stop):
            # A stop string may have begun several tokens ago: the whole text is searched.
            while not self._stopped(answer.tokens[: start + 1], stop):
                start += 1
            answer.tokens = answer.tokens[: start + 1]
            answer.finish_reason = "stop"
        elif answer.tokens[-1] == self._end_of_turn:
            answer.finish_reason = "stop"
        elif len(answer.tokens) == answer.limit:
            answer.finish_reason = "length"

    def _stopped(self, tokens: Sequence[int], stop: tuple[str, ...]) -> bool:
        if not stop:
            return False
        text = self._tokenizer.decode(tokens)
        return any(string in text for string in stop)

    def _completion(self, answer: _Answer, settings: SamplingSettings) -> Completion:
        text = self._tokenizer.decode(answer.tokens)
        cuts = [text.find(stop) for stop in settings.stop if stop in text]
        if cuts:
            text = text[: min(cuts)]
        return Completion(
            self._template.answer_text(text), tuple(answer.tokens), answer.finish_reason
        )

    def _batch_size(self, rows: int) -> int:
        """Rows of the batch that answers so many: a power of two on each part of the mesh."""
        parts = axis_size(self._mesh, "batch")
        return parts * _power_of_two(-(-rows // parts))

    def _bucket(self, length: int) -> int:
        """The next power of two, within the context."""
        return min(max(_SMALLEST_LENGTH, _power_of_two(length)), self._context)


def _power_of_two(size: int) -> int:
    """The next one that is at least ``size``."""
    return 1 << (size - 1).bit_length()


def _column(numbers: Sequence[int], size: int) -> np.ndarray:
    """``[size]`` int32, zeros at the end."""
    column = np.zeros(size, np.int32)
    column[: len(numbers)] = numbers
    return column
