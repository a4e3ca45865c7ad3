"""The sampler: answers conversations with a model on this machine's devices."""

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh

from ocijax.conversation import Conversation
from ocijax.errors import InputError
from ocijax.model.config import ModelConfig
from ocijax.model.decoder import ComputeConfig
from ocijax.model.parameters import Parameters
from ocijax.sample.decoding import Generated, Rows
from ocijax.sample.detokenization import AnswerText
from ocijax.sample.engine import AT_REST, CHUNK_ROWS, Chunk, Engine
from ocijax.sample.pace import Pace
from ocijax.sample.settings import Completion, SamplingSettings
from ocijax.sample.slots import Slots
from ocijax.sample.transcripts import Transcripts
from ocijax.sharding import MeshConfig, make_mesh
from ocijax.template import Template
from ocijax.tokenizer import Tokenizer, check_vocabulary

_PREFILL_TOKENS = 8192
"""Most tokens of prompts that are read before answers go on."""

_WORTH_A_CALL = 128
"""Tokens of a prompt: fewer are read in no less time, since all weights are read for them."""

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
      text: what was generated.
      scores: log-probabilities of its tokens, where they are wanted.
      parts: its text, in parts that may be empty, one for each look at what was generated.
      told: how many of them its follower was told.
      finish_reason: why it ended, ``given up`` where nobody wants it; ``None`` while it has not.
      slot: the one it has; -1 where it waits for one.
      known: how many of its tokens are in the cache.
    """

    conversation: Conversation
    settings: SamplingSettings
    index: int
    prompt: np.ndarray
    limit: int
    text: AnswerText
    scores: list[float] = field(default_factory=list)
    parts: list[str] = field(default_factory=list)
    told: int = 0
    finish_reason: str | None = None
    slot: int = -1
    known: int = 0

    @property
    def tokens(self) -> list[int]:
        """Those generated."""
        return self.text.tokens

    @property
    def unread(self) -> int:
        """Tokens still to read before it can be answered: the answer's begin reads the last one."""
        return len(self.prompt) - 1 - self.known

    @property
    def row(self) -> Rows:
        """How the answer begins: its first forward reads the prompt's last token."""
        return Rows(
            tokens=self.prompt[-1],
            positions=len(self.prompt) - 1,
            counts=0,
            limits=self.limit,
            seeds=self.settings.seed,
            indices=self.index,
            temperature=self.settings.temperature,
            top_p=self.settings.top_p,
            top_k=self.settings.top_k,
            scored=self.settings.log_probabilities,
        )

    @property
    def longest(self) -> int:
        """Places of a slot that prompt and answer can fill: the answer's last token needs none."""
        return len(self.prompt) + self.limit - 1


class _Call(NamedTuple):
    """One call of the devices whose results the host has not looked at.

    Attributes:
      generated: by it.
      answering: whose slots they are.
      draft_tokens: looked up for each forward of `decode`; ``None``: it was one of `prefill`.
    """

    generated: Generated
    answering: dict[int, _Request]
    draft_tokens: int | None = None


class Sampler:
    """Answers conversations; see `ocijax.sample.settings.Generator`.

    Each has a slot of the cache while it is answered, and whoever waits takes a slot as soon as one
    is free; so do conversations of other calls from other threads, one of which takes the steps for
    all. A conversation that goes on is read from where it was left, see `ocijax.sample.slots`.
    Lengths are rounded up to few steps, so that few programs are compiled whatever is asked;
    settings, and how many ask, compile nothing.

    Example::

      sampler = Sampler(*load_model("runs/first"))
      [completion] = sampler.generate([conversation], SamplingSettings(temperature=0.8))

    Args:
      config: the model's shape.
      parameters: on the mesh, as `ocijax.train.checkpoint.load_model` gives them. Whoever lets go
        of them before the first answer has room for more slots.
      tokenizer: the model's.
      template: the model's.
      compute: how the forward runs.
      mesh: where the parameters are; the first device alone by default.
      slots: most conversations answered at once.
      context: tokens that a slot holds, prompt and answer together, and the most that are answered;
        by default as many as the model can hold, and slots grow as they are needed.
      decode_steps: forwards between two looks at stop strings, each of which generates a token, or
        some of those looked up.
      draft_tokens: tokens that are looked up for each forward, where the conversation said the same
        before, see `ocijax.sample.lookup`; as long as answers come faster so. 0: none.
      int8_weights: hold the layers' weights in eight bits, half the bytes that a step reads.
      int8_cache: hold keys and values in eight bits, so that nearly twice as many fit.
      observe: called with the number of answers finished since the last call.

    Attributes:
      engine: the devices' side.
      prefilled_tokens: tokens of prompts that were read so far, and not copied or gone on from.
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
        decode_steps: int = 8,
        draft_tokens: int = 0,
        int8_weights: bool = False,
        int8_cache: bool = False,
        observe: Callable[[int], None] = lambda finished: None,
    ):
        longest = config.max_position_embeddings
        self._context = min(context or longest, longest)
        self._tokenizer = tokenizer
        self._template = template
        check_vocabulary(tokenizer, config.vocab_size)
        self._end_of_turn = template.special_ids(tokenizer)[template.end_of_turn]
        self._transcripts = Transcripts(template, tokenizer)
        self.engine = Engine(
            config,
            parameters,
            compute or ComputeConfig(),
            make_mesh(MeshConfig(), jax.local_devices()[:1]) if mesh is None else mesh,
            slots=slots,
            context=self._context,
            steps=decode_steps,
            draft_tokens=draft_tokens,
            stop_id=self._end_of_turn,
            room=self._context if context else 1,
            int8_weights=int8_weights,
            int8_cache=int8_cache,
        )
        self._slots = Slots(self.engine.slots)
        self._decode_steps = decode_steps
        self._ahead = 2 * decode_steps * (1 + draft_tokens)
        self._draft_tokens = draft_tokens
        self._pace = Pace(draft_tokens)
        self._observe = observe

        self.prefilled_tokens = self.generated_tokens = self.forwards = 0
        self._turn = threading.Condition()
        self._stepping = False
        self._given_up: list[_Request] = []
        self._forgotten: deque[np.ndarray] = deque()
        self._waiting: deque[_Request] = deque()
        self._reading: list[_Request] = []
        self._answering: dict[int, _Request] = {}
        self._resting: list[int] = []
        self._in_flight: _Call | None = None
        self._looked = time.perf_counter()

    @property
    def slots(self) -> int:
        """How many conversations are answered at once at most."""
        return self.engine.slots

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

    def token_text(self, token: int) -> str:
        """The text of one token alone."""
        return self._tokenizer.decode([token])

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
            in the model's context; or slots of that length do not fit beside the model.
        """
        requests = [
            self._request(index, conversation, settings)
            for index, conversation in enumerate(conversations)
        ]
        self.engine.check_room(max((one.longest for one in requests), default=1))
        # Who goes on where it is held does so before others take its slot. Neighbours in length
        # are read together; the longest begin first, and end last.
        known = {one: self._slots.known(one.prompt[:-1]) for one in requests}
        self._waiting.extend(sorted(requests, key=lambda one: (-known[one], -len(one.prompt))))
        try:
            while any(one.finish_reason is None for one in requests):
                self._advance()
                if follow is not None:
                    self._tell(requests, follow)
            if follow is not None:  # Another thread may have ended them since.
                self._tell(requests, follow)
        except BaseException:
            self._give_up(requests)
            raise
        return [self._completion(one) for one in requests]

    def forget(self, conversation: Conversation) -> None:
        """Has a conversation, which ends with an answer, be the first whose slot others take."""
        self._forgotten.append(self._transcripts.tokens(conversation))

    @property
    def programs(self) -> int:
        """How many were compiled."""
        return self.engine.programs

    def compile_ahead(self) -> None:
        """Compiles all programs that there may be need of, several at once.

        Slots hold the whole context from then on. Without, programs are compiled when they are
        first needed, while everybody waits.

        Raises:
          InputError: what the programs compute in does not fit beside the slots.
        """
        with self._turn:
            self._turn.wait_for(lambda: not self._stepping)
            self.engine.compile_ahead()

    def _tell(self, requests: Sequence[_Request], follow: Follow) -> None:
        """Tells what is new of each answer."""
        for one in requests:
            parts = one.parts[one.told :]
            one.told += len(parts)
            if parts:
                follow(one.index, "".join(parts))

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
        text = AnswerText(self._tokenizer, self._template, settings.stop)
        return _Request(conversation, settings, index, prompt, limit, text)

    def _step(self) -> None:
        """Reads some of what waits, begins to generate, and looks at what was generated before."""
        self._fill_slots()
        begun = self._prefill()
        self._set_rows([one for one in self._reading if not one.unread])
        call = None
        if not self._in_flight:
            self._looked = time.perf_counter()
        coming = self._coming(begun)
        if any(len(one.tokens) + coming[one] < one.limit for one in self._answering.values()):
            draft_tokens = self._pace.choose()
            filled = max(map(self._filled, self._answering.values()))
            generated = self.engine.decode(filled, draft_tokens)
            call = _Call(generated, dict(self._answering), draft_tokens)
        # The devices have the next tokens to do while the host looks at the last ones.
        for done in [self._in_flight, *begun]:
            if done:
                self._collect(done)
        self._in_flight = call

    def _fill_slots(self) -> None:
        """Gives slots to those that wait, first come first served."""
        while self._waiting and self._slots.free:
            request = self._waiting[0]
            # After looking who waits: whoever asks after it forgot something takes that slot.
            while self._forgotten:
                self._slots.forget(self._forgotten.popleft())
            prompt = request.prompt[:-1]
            if self._slots.worth_waiting(prompt):
                break  # What they have in common is there to copy once it is read.
            self.engine.make_room(request.longest)
            place = self._slots.take(prompt)
            if place.source != place.slot:
                try:
                    self.engine.copy(place.source, place.slot, place.known)
                except BaseException:
                    # It promises nothing, and what it holds is not known: the request waits on.
                    self._slots.leave(place.slot, prompt[:0])
                    raise
            self._waiting.popleft()
            request.slot, request.known = place.slot, place.known
            self._reading.append(request)

    def _prefill(self) -> list[_Call]:
        """Reads chunks of what waits, but no more than others may wait for.

        Where more wait than are answered, they are read first: a step takes nearly as long for few.

        Returns:
          The calls that began answers.
        """
        tokens, begun, many = 0, [], len(self._reading) >= len(self._answering)
        while tokens < _PREFILL_TOKENS or many:
            chunks = {one: self._next_chunk(one) for one in self._reading if one.unread}
            if not chunks:
                break
            # Those together that fit the first one's program.
            first = next(iter(chunks.values()))
            alike = [one for one, chunk in chunks.items() if chunk[1:] == first[1:]][:CHUNK_ROWS]
            if len(alike) * max(first.length, _WORTH_A_CALL) < CHUNK_ROWS * first.length:
                alike = alike[:1]
            ending = [one for one in alike if chunks[one].ends(one.prompt)]
            hidden = self.engine.prefill({one.slot: (one.prompt, chunks[one]) for one in alike})
            if ending:
                begun.append(self._begin(ending, [one.slot for one in alike], hidden))
            for one in alike:
                known = min(chunks[one].start + first.length, len(one.prompt) - 1)
                self.prefilled_tokens += known - one.known
                one.known = known
                self._slots.hold(one.slot, one.prompt[:known])
            tokens += first.length * len(alike)
        return begun

    def _next_chunk(self, request: _Request) -> Chunk:
        return self.engine.next_chunk(request.known, len(request.prompt))

    def _begin(self, ending: Sequence[_Request], slots: Sequence[int], hidden: jax.Array) -> _Call:
        """Begins answers to those of the prompts in ``slots`` that were just read to their ends."""
        rows = {one.slot: one.row for one in ending}
        prompts = {one.slot: one.prompt for one in ending}
        generated = self.engine.begin(slots, hidden, rows, prompts)
        self._resting = [slot for slot in self._resting if slot not in rows]
        self._answer(ending)
        return _Call(generated, dict(zip(rows, ending, strict=True)))

    def _set_rows(self, ready: Sequence[_Request]) -> None:
        """Tells the devices who is answered from now on, and who is not any more."""
        rows = dict.fromkeys(self._resting, AT_REST) | {one.slot: one.row for one in ready}
        self.engine.set_rows(rows, {one.slot: one.prompt for one in ready})
        # Where that fails, one call fails, and the others are told to the devices at the next step.
        self._resting = []
        self._answer(ready)

    def _answer(self, ready: Sequence[_Request]) -> None:
        """Notes who is answered from now on."""
        self._reading = [one for one in self._reading if one not in ready]
        self._answering |= {one.slot: one for one in ready}

    def _collect(self, call: _Call) -> None:
        """Adds what was generated to the answers, and frees the slots of those that have ended."""
        finished, tokens = 0, np.asarray(call.generated.tokens)
        for slot, one in call.answering.items():
            if one.finish_reason:
                continue
            new = tokens[slot][tokens[slot] >= 0].tolist()
            if one.settings.log_probabilities:
                scores = np.asarray(call.generated.log_probabilities)[slot, : len(new)]
                one.scores += scores.tolist()
            self._extend(one, new)
            if one.finish_reason:
                finished += 1
                del self._answering[slot]
                self._leave(one)
                self._transcripts.remember(one.conversation, self._completion(one))
        # On the host: a sum by JAX would be computed after the next call.
        forwards = np.asarray(call.generated.forwards)
        generated = int((tokens >= 0).sum())
        self.forwards += int(forwards.sum())
        self.generated_tokens += generated
        now = time.perf_counter()
        if call.draft_tokens is not None and forwards.any():
            a_forward = (now - self._looked) / int(forwards.max())
            self._pace.note(call.draft_tokens, generated / int(forwards.sum()), a_forward)
        self._looked = now
        self._observe(finished)

    def _leave(self, request: _Request) -> None:
        """Frees a request's slot, which goes on holding what was read: not the last token."""
        self._resting.append(request.slot)
        said = np.concatenate([request.prompt, np.array(request.tokens, np.int32)])
        self._slots.leave(request.slot, said[: request.known + len(request.tokens)])

    def _extend(self, request: _Request, new: list[int]) -> None:
        """Adds new tokens up to a stop string, and says why the answer has ended where it has."""
        request.parts.append(request.text.add(new))
        finish_reason = None
        if request.text.stopped or request.tokens[-1] == self._end_of_turn:
            finish_reason = "stop"
        elif len(request.tokens) == request.limit:
            finish_reason = "length"
        if finish_reason:
            request.parts.append(request.text.end())
            # Last: whoever waits for it takes the answer, in another thread.
            request.finish_reason = finish_reason

    def _completion(self, request: _Request) -> Completion:
        scores = tuple(request.scores[: len(request.tokens)])
        text = "".join(request.parts)
        return Completion(text, tuple(request.tokens), request.finish_reason, scores)

    def _coming(self, begun: Sequence[_Call]) -> Counter[_Request]:
        """Tokens that each answer gets for certain by calls not looked at: one in a forward."""
        coming = Counter(one for call in begun for one in call.answering.values())
        if self._in_flight:
            for one in self._in_flight.answering.values():
                coming[one] += self._decode_steps
        return coming

    def _filled(self, request: _Request) -> int:
        """Places that an answer may fill once the next tokens and those in flight are there."""
        ahead = len(request.prompt) + len(request.tokens) + self._ahead
        return min(ahead, request.longest) + self._draft_tokens
