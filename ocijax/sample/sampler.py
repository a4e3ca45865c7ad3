"""The sampler: answers conversations with a model on this machine's devices."""

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
from ocijax.sample.decoding import Cache, Draws, Rows, decode, grow, prefill
from ocijax.sample.settings import Completion, SamplingSettings
from ocijax.sharding import MeshConfig, axis_size, make_mesh
from ocijax.template import Template, tokenize
from ocijax.tokenizer import Tokenizer, check_vocabulary

_SMALLEST_LENGTH = 64
_FEWER_ROWS = 8
"""Sizes of batches fall by this factor: each is a program to compile, and costs a small model more
than rows at rest."""


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
        """Where the last token of prompt and answer stands."""
        return len(self.prompt) + len(self.tokens) - 1


class Sampler:
    """Answers batches of conversations; see `ocijax.sample.settings.Generator`.

    Batches are of similar prompt lengths, and lengths and sizes are rounded up to few steps (the
    powers of two; ``max_batch``, an eighth of it, and so on), so that few programs are compiled
    whatever is asked; temperature, top-p, seeds and limits compile nothing.

    Example::

      sampler = Sampler(*load_model("runs/first"))
      [completion] = sampler.generate([conversation], SamplingSettings(temperature=0.8))

    Args:
      config: the model's shape.
      parameters: on the mesh, as `ocijax.train.checkpoint.load_model` gives them.
      tokenizer: the model's.
      template: the model's.
      compute: how the forward runs.
      mesh: where the parameters are; the first device alone by default.
      max_batch: most conversations answered at once.
      decode_steps: tokens generated between two looks at stop strings.
      observe: called with the number of answers finished since the last call.

    Raises:
      InputError: the tokenizer lacks the template's special tokens, or has tokens that the model
        lacks.
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
        compute = compute or ComputeConfig()
        # Cast once, not at every dispatch; arrays of that dtype are not copied.
        self._parameters = {path: array.astype(compute.dtype) for path, array in parameters.items()}
        self._context = config.max_position_embeddings
        self._tokenizer = tokenizer
        self._template = template
        static = {"config": config, "compute": compute, "mesh": self._mesh}
        self._prefill = partial(prefill, self._parameters, **static)
        self._decode = partial(decode, self._parameters, steps=decode_steps, **static)
        self._grow = partial(grow, mesh=self._mesh)
        self._max_batch = max_batch
        self._decode_steps = decode_steps
        check_vocabulary(tokenizer, config.vocab_size)
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
        """Runs one batch, the longest prompt last, to its end."""
        draws = Draws(
            np.uint32(settings.seed),
            np.float32(settings.temperature),
            np.float32(settings.top_p),
        )
        stop_ids = np.array([self._end_of_turn], np.int32)
        size = self._batch_size(len(batch))
        cache = self._prefill(_prompts(batch, size, self._bucket(len(batch[-1].prompt))))
        while unfinished := [answer for answer in batch if not answer.finish_reason]:
            cache = self._make_room(cache, unfinished)
            cache, tokens = self._decode(cache, _rows(batch, size), stop_ids, draws)
            for answer, generated in zip(batch, np.asarray(tokens), strict=False):
                if not answer.finish_reason:
                    self._extend(answer, generated[generated >= 0].tolist(), settings.stop)
            self._observe(sum(answer.finish_reason is not None for answer in unfinished))

    def _make_room(self, cache: Cache, unfinished: Sequence[_Answer]) -> Cache:
        """The cache with slots for the next steps."""
        # The last token of an answer needs no slot.
        needed = max(
            min(answer.position + self._decode_steps, len(answer.prompt) + answer.limit - 1)
            for answer in unfinished
        )
        slots = self._bucket(needed)
        return cache if slots <= cache[0].keys.shape[2] else self._grow(cache, slots=slots)

    def _extend(self, answer: _Answer, new: list[int], stop: tuple[str, ...]) -> None:
        """Adds new tokens up to a stop string, and says why the answer has ended where it has."""
        if stopped := self._stopped(answer.tokens + new, stop):
            counts = range(1, len(new) + 1)
            new = new[: next(n for n in counts if self._stopped(answer.tokens + new[:n], stop))]
        answer.tokens += new
        if stopped or answer.tokens[-1] == self._end_of_turn:
            answer.finish_reason = "stop"
        elif len(answer.tokens) == answer.limit:
            answer.finish_reason = "length"

    def _stopped(self, tokens: Sequence[int], stop: tuple[str, ...]) -> bool:
        # A stop string may have begun several tokens ago: the whole text is searched.
        text = self._tokenizer.decode(tokens) if stop else ""
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
        """Rows of the batch that answers so many: the fewest of few sizes, equal on each device."""
        parts = axis_size(self._mesh, "batch")
        size = -(-self._max_batch // parts)
        while size > 1 and (fewer := -(-size // _FEWER_ROWS)) * parts >= rows:
            size = fewer
        return parts * size

    def _bucket(self, length: int) -> int:
        """The next power of two, within the context."""
        return min(max(_SMALLEST_LENGTH, 1 << (length - 1).bit_length()), self._context)


def _prompts(answers: Sequence[_Answer], size: int, length: int) -> np.ndarray:
    """The prompts of a batch, ``[size, length]`` int32, zeros at their ends."""
    tokens = np.zeros((size, length), np.int32)
    for row, answer in zip(tokens, answers, strict=False):
        row[: len(answer.prompt)] = answer.prompt
    return tokens


def _rows(answers: Sequence[_Answer], size: int) -> Rows:
    """Where ``size`` rows of a batch stand: those of the answers, and others that rest."""
    return Rows(
        tokens=_column([(answer.tokens or answer.prompt)[-1] for answer in answers], size),
        positions=_column([answer.position for answer in answers], size),
        counts=_column([len(answer.tokens) for answer in answers], size),
        limits=_column([0 if answer.finish_reason else answer.limit for answer in answers], size),
        indices=_column([answer.index for answer in answers], size),
    )


def _column(numbers: Sequence[int], size: int) -> np.ndarray:
    """``[size]`` int32, zeros at the end."""
    column = np.zeros(size, np.int32)
    column[: len(numbers)] = numbers
    return column
