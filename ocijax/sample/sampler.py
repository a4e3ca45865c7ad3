"""The sampler: answers conversations with a model on this machine's devices."""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from ocijax.conversation import Conversation
from ocijax.errors import InputError
from ocijax.model.config import ModelConfig
from ocijax.model.decoder import ComputeConfig, unstack
from ocijax.model.parameters import Parameters
from ocijax.sample.cache import Cache, copy_slot, empty_cache, grow
from ocijax.sample.decode_attention import choose_decode_kernel
from ocijax.sample.decoding import DTYPES, Rows, decode, read, seat
from ocijax.sample.detokenization import AnswerText, answer_text
from ocijax.sample.settings import Completion, SamplingSettings
from ocijax.sample.slots import WORTH_COPYING, Slots, shared
from ocijax.sample.transcripts import Transcripts
from ocijax.sharding import MeshConfig, axis_size, make_mesh
from ocijax.template import Template
from ocijax.tokenizer import Tokenizer, check_vocabulary

_SMALLEST_LENGTH = 64
LONGEST_PIECE = 512
"""Tokens of a prompt that are read at once, beside the answers that are generated."""
PIECES = 8
"""Prompts that are read at once where several wait; otherwise one."""
_READ_TOKENS = 8192
"""Most tokens of prompts that are read before answers go on."""

Follow = Callable[[int, str], None]
"""Told a conversation's index in the call and what is new of its answer's text, maybe nothing.

Joined, the texts are the completion's; each is certain, see `ocijax.sample.detokenization`.
"""


@dataclass(eq=False)
class _Request:
    """A conversation to answer, on the host.

    Attributes:
      conversation: what to answer.
      settings: how.
      index: tells requests of one seed apart.
      prompt: its tokens.
      limit: most tokens to generate.
      tokens: those generated.
      finish_reason: why it ended, ``given up`` where nobody wants it; ``None`` while it has not.
      slot: the one it has; -1 where it waits for one.
      known: how many of its tokens are in the cache.
    """

    conversation: Conversation
    settings: SamplingSettings
    index: int
    prompt: np.ndarray
    limit: int
    tokens: list[int] = field(default_factory=list)
    finish_reason: str | None = None
    slot: int = -1
    known: int = 0

    @property
    def unread(self) -> int:
        """Tokens still to read before it can be answered: the last one is read by the answer."""
        return len(self.prompt) - 1 - self.known

    @property
    def longest(self) -> int:
        """Places of a slot that prompt and answer can fill: the answer's last token needs none."""
        return len(self.prompt) + self.limit - 1


class Sampler:
    """Answers conversations; see `ocijax.sample.settings.Generator`.

    Each has a slot of the cache while it is answered, and whoever waits takes a slot as soon as one
    is free; so do conversations of other calls from other threads, one of which takes the steps for
    all. A conversation that goes on is
    read from where it was left, see `ocijax.sample.slots`. Lengths are rounded up to few steps, so
    that few programs are compiled whatever is asked; settings, and how many ask, compile nothing.

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
      slots: most conversations answered at once.
      context: tokens that a slot holds, prompt and answer together, and the most that are answered;
        by default as many as the model can hold, and slots grow as they are needed.
      decode_steps: tokens generated between two looks at stop strings.
      observe: called with the number of answers finished since the last call.

    Attributes:
      read_tokens: tokens of prompts that were read so far; all others were known.

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
        slots: int = 64,
        context: int | None = None,
        decode_steps: int = 16,
        observe: Callable[[int], None] = lambda finished: None,
    ):
        mesh = make_mesh(MeshConfig(), jax.local_devices()[:1]) if mesh is None else mesh
        compute = compute or ComputeConfig()
        longest = config.max_position_embeddings
        self._context = min(context or longest, longest)
        self._tokenizer = tokenizer
        self._template = template
        check_vocabulary(tokenizer, config.vocab_size)
        self._end_of_turn = template.special_ids(tokenizer)[template.end_of_turn]
        self._transcripts = Transcripts(template, tokenizer)
        # Cast once, not at every dispatch; arrays of that dtype are not copied.
        cast = {path: array.astype(compute.dtype) for path, array in parameters.items()}
        static = {"config": config, "compute": compute, "mesh": mesh}
        self._kernel = choose_decode_kernel(config, compute.dtype, mesh.devices.flat[0])
        weights = unstack(cast)
        self._read = partial(read, weights, **static)
        self._decode = partial(decode, weights, steps=decode_steps, kernel=self._kernel, **static)
        self._copy = partial(copy_slot, mesh=mesh)
        self._grow = partial(grow, mesh=mesh)
        parts = axis_size(mesh, "batch")
        self._count = -(-slots // parts) * parts
        self._empty = partial(empty_cache, config, compute.dtype, mesh, self._count)
        self._decode_steps = decode_steps
        self._observe = observe

        self.read_tokens = 0
        self._turn = threading.Condition()
        self._stepping = False
        self._given_up: list[_Request] = []
        self._slots = Slots(self._count)
        rows = Rows(*(np.zeros(self._count, dtype) for dtype in DTYPES))
        self._rows = jax.device_put(rows, NamedSharding(mesh, PartitionSpec()))
        self._cache: Cache = self._empty(self._places_for(context or 1))
        self._waiting: deque[_Request] = deque()
        self._reading: list[_Request] = []
        self._answering: dict[int, _Request] = {}
        self._resting: list[int] = []
        self._in_flight: tuple[jax.Array, dict[int, _Request]] | None = None

    @property
    def slots(self) -> int:
        """How many conversations are answered at once at most."""
        return self._count

    @property
    def free_slots(self) -> int:
        """How many slots no conversation has."""
        return self._slots.free

    def prompt_tokens(self, conversation: Conversation) -> int:
        """How many tokens a conversation and its generation prompt are.

        Raises:
          InputError: the template cannot express the conversation.
        """
        return len(self._transcripts.tokens(conversation))

    def generate(
        self,
        conversations: Sequence[Conversation],
        settings: SamplingSettings,
        follow: Follow | None = None,
    ) -> list[Completion]:
        """One completion for each conversation, in order.

        Draws depend on ``settings.seed`` and the conversation's index in this call, not on what
        else is answered at the time.

        Args:
          conversations: what to answer.
          settings: how.
          follow: called in this thread whenever tokens were generated; however long it takes, the
            answers of other calls go on. What it raises gives up the call, whose slots are free
            then, and is raised here.

        Raises:
          InputError: a conversation does not end with a user turn, or leaves no room for an answer
            in the model's context.
        """
        requests = [
            self._request(index, conversation, settings)
            for index, conversation in enumerate(conversations)
        ]
        texts = [AnswerText(self._tokenizer, self._template, settings.stop) for _ in requests]
        with self._turn:
            # Neighbours in length are read together; the longest begin first, and end last.
            self._waiting.extend(sorted(requests, key=lambda one: -len(one.prompt)))
        try:
            while any(one.finish_reason is None for one in requests):
                self._advance()
                if follow is not None:
                    self._tell(requests, texts, follow)
            if follow is not None:  # Another thread may have ended them since.
                self._tell(requests, texts, follow)
        except BaseException:
            self._give_up(requests)
            raise
        return [self._completion(one) for one in requests]

    def _tell(
        self, requests: Sequence[_Request], texts: Sequence[AnswerText], follow: Follow
    ) -> None:
        """Tells what is new of each answer."""
        for request, text in zip(requests, texts, strict=True):
            # In this order: the thread that steps adds tokens before it says why they ended.
            ended = request.finish_reason is not None
            new = request.tokens[text.tokens :]
            if new or (ended and not text.ended):
                follow(request.index, text.add(new, last=ended))

    def _advance(self) -> None:
        """Takes a step, or waits for the end of the one that another thread is taking."""
        with self._turn:
            if self._stepping:
                self._turn.wait()
                return
            self._stepping = True
        try:
            self._step()
        finally:
            with self._turn:
                self._stepping = False
                self._drop_given_up()
                self._turn.notify_all()

    def _give_up(self, requests: Iterable[_Request]) -> None:
        """Ends requests that nobody wants any more, now or after the step that is being taken."""
        with self._turn:
            self._given_up.extend(requests)
            if not self._stepping:
                self._drop_given_up()

    def _drop_given_up(self) -> None:
        for one in self._given_up:
            if one.finish_reason:
                continue
            one.finish_reason = "given up"
            if one.slot < 0:
                self._waiting.remove(one)
                continue
            if self._answering.pop(one.slot, None) is None:
                self._reading.remove(one)
            self._leave(one)
        self._given_up = []

    def _request(
        self, index: int, conversation: Conversation, settings: SamplingSettings
    ) -> _Request:
        if not conversation.messages or conversation.messages[-1].role != "user":
            raise InputError(
                f"conversation {conversation.id}: does not end with a user turn to answer"
            )
        prompt = self._transcripts.tokens(conversation)
        room = self._context - len(prompt)
        if room < 1:
            raise InputError(
                f"conversation {conversation.id}: its {len(prompt)} tokens leave no room for an "
                f"answer in the model's context of {self._context}; shorten it"
            )
        limit = min(settings.max_new_tokens, room)
        return _Request(conversation, settings, index, prompt, limit)

    def _step(self) -> None:
        """Reads some of what waits, begins to generate, and looks at what was generated before."""
        self._fill_slots()
        self._read_pieces()
        self._seat()
        dispatched = None
        if self._answering:
            filled = max(map(self._filled, self._answering.values()))
            # cuDNN's kernel reads what is filled, whatever it is given.
            window = self._places if self._kernel == "cudnn" else self._bucket(filled)
            window = min(window, self._places)
            stop_ids = np.array([self._end_of_turn], np.int32)
            self._cache, self._rows, tokens = self._decode(
                cache=self._cache, rows=self._rows, stop_ids=stop_ids, window=window
            )
            dispatched = tokens, dict(self._answering)
        # The devices have the next tokens to do while the host looks at the last ones.
        if self._in_flight:
            self._collect(*self._in_flight)
        self._in_flight = dispatched

    def _fill_slots(self) -> None:
        """Gives slots to those that wait, first come first served."""
        while self._waiting and self._slots.free:
            request = self._waiting[0]
            prompt = request.prompt[:-1]
            alike = max((shared(one.prompt[:-1], prompt) for one in self._reading), default=0)
            if alike - self._slots.known(prompt) >= WORTH_COPYING:
                break  # What they have in common is there to copy once it is read.
            self._waiting.popleft()
            self._make_room(request.longest)
            place = self._slots.take(prompt)
            if place.source != place.slot:
                slots = np.int32(place.source), np.int32(place.slot)
                places = min(self._bucket(place.known), self._places)
                self._cache = self._copy(self._cache, *slots, places=places)
            request.slot, request.known = place.slot, place.known
            self._reading.append(request)

    def _read_pieces(self) -> None:
        """Reads what waits, but no more than others may wait for."""
        tokens = 0
        while tokens < _READ_TOKENS and any(one.unread for one in self._reading):
            tokens += self._read_piece()

    def _read_piece(self) -> int:
        """Reads one piece of some prompts, of those that fit the first one's program.

        Returns:
          How many tokens that was.
        """
        unread = [one for one in self._reading if one.unread]
        places = self._places
        length, window = self._piece(unread[0])
        chosen = [one for one in unread if self._piece(one) == (length, window)][:PIECES]
        rows = [*chosen, *[chosen[0]] * ((PIECES if len(chosen) > 1 else 1) - len(chosen))]
        # Where a piece would end behind the slot, it begins earlier and reads some again.
        starts = [min(one.known, places - length) for one in rows]
        tokens = np.zeros((len(rows), length), np.int32)
        for row, one, start in zip(tokens, rows, starts, strict=True):
            piece = one.prompt[start : start + length]
            row[: len(piece)] = piece
        self._cache = self._read(
            cache=self._cache,
            tokens=tokens,
            slots=np.array([one.slot for one in rows], np.int32),
            starts=np.array(starts, np.int32),
            window=window,
        )
        for one, start in zip(chosen, starts, strict=False):
            known = min(start + length, len(one.prompt) - 1)
            self.read_tokens += known - one.known
            one.known = known
            self._slots.hold(one.slot, one.prompt[: one.known])
        return tokens.size

    def _piece(self, request: _Request) -> tuple[int, int]:
        """Length and window of the program that reads a request's next piece."""
        length = min(self._bucket(request.unread), LONGEST_PIECE, self._places)
        start = min(request.known, self._places - length)
        return length, min(self._bucket(start + length), self._places) if start else 0

    def _seat(self) -> None:
        """Tells the devices who is answered from now on, and who is not any more."""
        ready = [one for one in self._reading if not one.unread]
        self._reading = [one for one in self._reading if one.unread]
        for one in ready:
            self._answering[one.slot] = one
        rows = {slot: (0,) * len(DTYPES) for slot in self._resting}
        for one in ready:
            settings = one.settings
            rows[one.slot] = (
                one.prompt[-1],
                len(one.prompt) - 1,
                0,
                one.limit,
                settings.seed,
                one.index,
                settings.temperature,
                settings.top_p,
                settings.top_k,
            )
        self._resting = []
        if rows:
            slots = np.full(self._count, self._count, np.int32)
            slots[: len(rows)] = list(rows)
            columns = zip(*rows.values(), strict=True)
            new = Rows(*map(self._column, columns, DTYPES))
            self._rows = seat(self._rows, slots, new)

    def _column(self, numbers: Iterable[float], dtype: str) -> np.ndarray:
        """``[slots]``, zeros at the end."""
        column = np.zeros(self._count, dtype)
        numbers = np.array(list(numbers))
        column[: len(numbers)] = numbers
        return column

    def _collect(self, tokens: jax.Array, answering: dict[int, _Request]) -> None:
        """Adds what was generated to the answers, and frees the slots of those that have ended."""
        finished = 0
        for slot, generated in enumerate(np.asarray(tokens)):
            one = answering.get(slot)
            if one is None or one.finish_reason:
                continue
            self._extend(one, generated[generated >= 0].tolist())
            if one.finish_reason:
                finished += 1
                del self._answering[slot]
                self._leave(one)
                self._transcripts.remember(one.conversation, self._completion(one))
        self._observe(finished)

    def _leave(self, request: _Request) -> None:
        """Frees a request's slot, which goes on holding what was read: not the last token."""
        self._resting.append(request.slot)
        held = [*request.prompt, *request.tokens][: request.known + len(request.tokens)]
        self._slots.leave(request.slot, np.array(held, np.int32))

    def _extend(self, request: _Request, new: list[int]) -> None:
        """Adds new tokens up to a stop string, and says why the answer has ended where it has."""
        stop = request.settings.stop
        if stopped := self._stopped(request.tokens + new, stop):
            counts = range(1, len(new) + 1)
            new = new[: next(n for n in counts if self._stopped(request.tokens + new[:n], stop))]
        request.tokens += new
        if stopped or request.tokens[-1] == self._end_of_turn:
            request.finish_reason = "stop"
        elif len(request.tokens) == request.limit:
            request.finish_reason = "length"

    def _stopped(self, tokens: Sequence[int], stop: tuple[str, ...]) -> bool:
        # A stop string may have begun several tokens ago: the whole text is searched.
        text = self._tokenizer.decode(tokens) if stop else ""
        return any(string in text for string in stop)

    def _completion(self, request: _Request) -> Completion:
        stop = request.settings.stop
        text = answer_text(request.tokens, self._tokenizer, self._template, stop)
        return Completion(text, tuple(request.tokens), request.finish_reason)

    def _filled(self, request: _Request) -> int:
        """Places that an answer may fill once the next tokens and those in flight are there."""
        ahead = len(request.prompt) + len(request.tokens) + 2 * self._decode_steps
        return min(ahead, request.longest)

    def _make_room(self, longest: int) -> None:
        """Makes slots hold so many tokens, and one that is never read."""
        places = self._places_for(longest)
        if self._places < places:
            self._cache = self._grow(self._cache, places=places)

    @property
    def _places(self) -> int:
        """Of a slot."""
        return self._cache[0].keys.shape[2]

    def _places_for(self, longest: int) -> int:
        # All that there may be is not rounded up to a power of two.
        most = -(-(self._context + 1) // _SMALLEST_LENGTH) * _SMALLEST_LENGTH
        return min(self._bucket(longest + 1), most)

    def _bucket(self, length: int) -> int:
        """The next power of two."""
        return max(_SMALLEST_LENGTH, 1 << (length - 1).bit_length())
