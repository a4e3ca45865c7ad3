"""The sampler: answers conversations with a model on this machine's devices."""

import math
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from ocijax.conversation import Conversation
from ocijax.devices import GIBIBYTE, memory_limit
from ocijax.errors import InputError
from ocijax.model.config import ModelConfig
from ocijax.model.decoder import ComputeConfig, unstack
from ocijax.model.parameters import Parameters
from ocijax.sample.cache import Cache, cache_bytes, copy_slot, empty_cache, grow
from ocijax.sample.decode_attention import choose_decode_kernel
from ocijax.sample.decoding import DTYPES, Rows, decode, read, seat, seat_history
from ocijax.sample.lookup import Pace
from ocijax.sample.program import Program
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
      finish_reason: why it ended; ``None`` while it has not.
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


class _Call(NamedTuple):
    """One call of `decode` whose results the host has not looked at.

    Attributes:
      tokens: that it generates.
      forwards: of each slot.
      drafts: looked up for each forward.
      answering: whose slots they are.
    """

    tokens: jax.Array
    forwards: jax.Array
    drafts: int
    answering: dict[int, _Request]


class Sampler:
    """Answers conversations; see `ocijax.sample.settings.Generator`.

    Each has a slot of the cache while it is answered, and whoever waits takes a slot as soon as one
    is free; so do conversations of other calls from other threads. A conversation that goes on is
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
      decode_steps: forwards between two looks at stop strings, each of which generates a token, or
        some of those looked up.
      drafts: tokens that are looked up for each forward, where the conversation said the same
        before, see `ocijax.sample.lookup`; as long as answers come faster so. 0: none.
      observe: called with the number of answers finished since the last call.

    Attributes:
      read_tokens: tokens of prompts that were read so far; all others were known.
      generated_tokens: tokens of answers so far.
      forwards: of each answer, summed up: how often what it says next was computed.

    Raises:
      InputError: the tokenizer lacks the template's special tokens, or has tokens that the model
        lacks; or so many slots do not fit beside the model.
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
        drafts: int = 0,
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
        self._stop_ids = np.array([self._end_of_turn], np.int32)
        self._transcripts = Transcripts(template, tokenizer)
        # Cast once, not at every dispatch; arrays of that dtype are not copied.
        cast = {path: array.astype(compute.dtype) for path, array in parameters.items()}
        static = {"config": config, "compute": compute, "mesh": mesh}
        self._kernel = choose_decode_kernel(config, compute.dtype, mesh.devices.flat[0])
        weights = unstack(cast)
        self._read = Program(read, weights, **static)
        self._decode = Program(decode, weights, steps=decode_steps, kernel=self._kernel, **static)
        self._copy = partial(copy_slot, mesh=mesh)
        self._grow = partial(grow, mesh=mesh)
        parts = axis_size(mesh, "batch")
        self._count = -(-slots // parts) * parts
        self._empty = partial(empty_cache, config, compute.dtype, mesh, self._count)
        self._bytes = partial(cache_bytes, config, compute.dtype, mesh, self._count)
        taken = sum(
            math.prod(leaf.sharding.shard_shape(leaf.shape)) * leaf.dtype.itemsize
            for leaf in jax.tree.leaves(weights)
        )
        self._free = memory_limit(mesh.local_devices[0]) - taken
        self._decode_steps = decode_steps
        self._drafts = drafts
        self._pace = Pace(drafts)
        self._observe = observe

        self.read_tokens = self.generated_tokens = self.forwards = 0
        self._lock = threading.Lock()
        self._slots = Slots(self._count)
        rows = Rows(*(np.zeros(self._count, dtype) for dtype in DTYPES))
        self._rows = jax.device_put(rows, NamedSharding(mesh, PartitionSpec()))
        places = self._places_for(context or 1)
        self._check_memory(places)
        self._cache: Cache = self._empty(places)
        history = np.zeros((self._count, self._places if drafts else 0), np.int32)
        self._history = jax.device_put(history, NamedSharding(mesh, PartitionSpec()))
        self._waiting: deque[_Request] = deque()
        self._reading: list[_Request] = []
        self._answering: dict[int, _Request] = {}
        self._resting: list[int] = []
        self._in_flight: _Call | None = None
        self._looked = time.perf_counter()

    def generate(
        self, conversations: Sequence[Conversation], settings: SamplingSettings
    ) -> list[Completion]:
        """One completion for each conversation, in order.

        Draws depend on ``settings.seed`` and the conversation's index in this call, not on what
        else is answered at the time.

        Raises:
          InputError: a conversation does not end with a user turn, or leaves no room for an answer
            in the model's context; or slots of that length do not fit beside the model.
        """
        requests = [
            self._request(index, conversation, settings)
            for index, conversation in enumerate(conversations)
        ]
        with self._lock:
            self._make_room(max((one.longest for one in requests), default=1))
            # Who goes on where it is held does so before others take its slot. Neighbours in length
            # are read together; the longest begin first, and end last.
            known = {one: self._slots.known(one.prompt[:-1]) for one in requests}
            self._waiting.extend(sorted(requests, key=lambda one: (-known[one], -len(one.prompt))))
        while any(one.finish_reason is None for one in requests):
            with self._lock:
                if any(one.finish_reason is None for one in requests):
                    self._step()
        return [self._completion(one) for one in requests]

    @property
    def programs(self) -> int:
        """How many were compiled to read prompts and to generate."""
        return len(self._read) + len(self._decode)

    def compile_ahead(self) -> None:
        """Compiles all programs that there may be need of, several at once.

        Slots hold the whole context from then on. Without, programs are compiled when they are
        first needed, while everybody waits.
        """
        with self._lock:
            self._make_room(self._context - 1)
            lengths = [self._bucket(length) for length in range(1, LONGEST_PIECE + 1)]
            lengths = sorted({min(length, self._places) for length in lengths})
            filled = range(1, self._places + 1)
            state = jax.tree.map(_abstract, (self._cache, self._rows, self._history))
            with ThreadPoolExecutor(os.cpu_count()) as threads:
                compiling = [
                    threads.submit(
                        self._read.compile,
                        state[0],
                        jax.ShapeDtypeStruct((rows, length), np.int32),
                        *[jax.ShapeDtypeStruct((rows,), np.int32)] * 2,
                        window=window,
                    )
                    for rows in {1, PIECES}
                    for length in lengths
                    for window in {0, *map(self._read_window, filled)}
                    if not window or window >= length
                ]
                compiling += [
                    threads.submit(
                        self._decode.compile, *state, self._stop_ids, window=window, drafts=drafts
                    )
                    for drafts in {0, self._drafts}
                    for window in {self._decode_window(places, drafts) for places in filled}
                ]
                for each in compiling:
                    each.result()

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
        if not self._in_flight:
            self._looked = time.perf_counter()
        if self._answering:
            filled = max(map(self._filled, self._answering.values()))
            drafts = self._pace.choose()
            state = self._cache, self._rows, self._history
            self._cache, self._rows, self._history, tokens, forwards = self._decode(
                *state, self._stop_ids, window=self._decode_window(filled, drafts), drafts=drafts
            )
            dispatched = _Call(tokens, forwards, drafts, dict(self._answering))
        # The devices have the next tokens to do while the host looks at the last ones.
        if self._in_flight:
            self._collect(self._in_flight)
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
        slots = np.array([one.slot for one in rows], np.int32)
        self._cache = self._read(
            self._cache, tokens, slots, np.array(starts, np.int32), window=window
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
        return length, self._read_window(start + length) if start else 0

    def _read_window(self, filled: int) -> int:
        """Places that a piece looks at which goes on; few steps, since there are many lengths."""
        return min(max(self._bucket(filled), LONGEST_PIECE), self._places)

    def _decode_window(self, filled: int, drafts: int) -> int:
        """Places that answers look at."""
        if self._kernel == "cudnn" and not drafts:
            return self._places  # it reads what is filled, whatever it is given
        return min(self._bucket(filled), self._places)

    def _seat(self) -> None:
        """Tells the devices who is answered from now on, and who is not any more."""
        ready = [one for one in self._reading if not one.unread]
        self._reading = [one for one in self._reading if one.unread]
        for one in ready:
            self._answering[one.slot] = one
            if self._drafts:
                tokens = np.zeros(self._places, np.int32)
                tokens[: len(one.prompt)] = one.prompt
                self._history = seat_history(self._history, np.int32(one.slot), tokens)
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

    def _collect(self, call: _Call) -> None:
        """Adds what was generated to the answers, and frees the slots of those that have ended."""
        finished, tokens = 0, np.asarray(call.tokens)
        for slot, one in call.answering.items():
            if one.finish_reason:
                continue
            self._extend(one, tokens[slot][tokens[slot] >= 0].tolist())
            if one.finish_reason:
                finished += 1
                del self._answering[slot]
                self._resting.append(slot)
                # The last token was not read.
                self._slots.leave(slot, np.array([*one.prompt, *one.tokens[:-1]], np.int32))
                self._transcripts.remember(one.conversation, self._completion(one))
        forwards, generated = int(np.sum(call.forwards)), int((tokens >= 0).sum())
        self.forwards += forwards
        self.generated_tokens += generated
        now = time.perf_counter()
        if forwards:
            a_forward = (now - self._looked) / max(1, int(np.max(call.forwards)))
            self._pace.note(call.drafts, generated / forwards, a_forward)
        self._looked = now
        self._observe(finished)

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
        text = self._tokenizer.decode(request.tokens)
        cuts = [text.find(stop) for stop in request.settings.stop if stop in text]
        if cuts:
            text = text[: min(cuts)]
        return Completion(
            self._template.answer_text(text), tuple(request.tokens), request.finish_reason
        )

    def _filled(self, request: _Request) -> int:
        """Places that an answer may fill once the next tokens and those in flight are there."""
        steps = 2 * self._decode_steps * (1 + self._drafts)
        ahead = len(request.prompt) + len(request.tokens) + steps
        return min(ahead, request.longest) + self._drafts

    def _make_room(self, longest: int) -> None:
        """Makes slots hold so many tokens, and one that is never read."""
        places = self._places_for(longest)
        if self._places < places:
            self._check_memory(places)
            self._cache = self._grow(self._cache, places=places)
            if self._drafts:
                more = [(0, 0), (0, places - self._history.shape[1])]
                self._history = jnp.pad(self._history, more)

    def _check_memory(self, places: int) -> None:
        """Raises InputError where slots of so many places do not fit beside the model."""
        needed = self._bytes(places)
        if needed > self._free:
            fitting = max(0, self._count * self._free // needed)
            taken, free = (f"{size / GIBIBYTE:.2f} GiB" for size in (needed, self._free))
            raise InputError(
                f"{self._count} conversations at once, of {places:,} tokens each, take {taken} of "
                f"a device, where {free} are left beside the model: {fitting} fit"
            )

    @property
    def _places(self) -> int:
        """Of a slot."""
        return self._cache[0].keys.shape[2]

    def _places_for(self, longest: int) -> int:
        # All that there may be is not rounded up to a power of two.
        beside = 1 + self._drafts  # where rows at rest write
        most = -(-(self._context + beside) // _SMALLEST_LENGTH) * _SMALLEST_LENGTH
        return min(self._bucket(longest + beside), most)

    def _bucket(self, length: int) -> int:
        """The next power of two."""
        return max(_SMALLEST_LENGTH, 1 << (length - 1).bit_length())


def _abstract(array: jax.Array) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(array.shape, array.dtype, sharding=array.sharding)
