"""The sampler: answers conversations with a model on this machine's devices."""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from ocijax.conversation import Conversation
from ocijax.errors import InputError
from ocijax.model.config import ModelConfig
from ocijax.model.decoder import ComputeConfig
from ocijax.model.parameters import Parameters
from ocijax.sample.decoding import Answers, Request, decode, prefill
from ocijax.sample.settings import Completion, SamplingSettings
from ocijax.sharding import MeshConfig, axis_size, make_mesh, named_sharding
from ocijax.template import Template, tokenize
from ocijax.tokenizer import Tokenizer

_SMALLEST_BUCKET = 64


@dataclass
class _Answer:
    """One answer under way, on the host."""

    index: int
    prompt: np.ndarray
    limit: int
    tokens: list[int] = field(default_factory=list)
    finish_reason: str | None = None


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
        self._config = config
        self._parameters = parameters
        self._tokenizer = tokenizer
        self._template = template
        self._mesh = make_mesh(MeshConfig(), jax.local_devices()[:1]) if mesh is None else mesh
        self._static = {
            "config": config,
            "compute": dataclasses.replace(compute or ComputeConfig(), remat="none"),
            "mesh": self._mesh,
        }
        self._max_batch = max_batch
        self._decode_steps = decode_steps
        self._end_of_turn = template.special_ids(tokenizer)[template.end_of_turn]
        self.observe = observe

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
            raise InputError(f"conversation {conversation.id}: does not end with a user turn")
        prompt = tokenize(conversation, self._template, self._tokenizer).tokens
        room = self._config.max_position_embeddings - len(prompt)
        if room < 1:
            raise InputError(
                f"conversation {conversation.id}: its {len(prompt)} tokens leave no room for an "
                f"answer in a context of {self._config.max_position_embeddings}; shorten it"
            )
        return _Answer(index, prompt, min(settings.max_new_tokens, room))

    def _answer(self, batch: Sequence[_Answer], settings: SamplingSettings) -> None:
        """Runs one batch to its end."""
        request, state = self._prefill(batch, settings)
        generated = np.asarray(state.token)[:, None]
        while True:
            done = np.asarray(state.done).copy()
            for row, answer in enumerate(batch):
                if answer.finish_reason is None:
                    new = generated[row][generated[row] >= 0].tolist()
                    self._extend(answer, new, bool(done[row]), settings)
                done[row] = answer.finish_reason is not None
            if done.all():
                break
            state = state._replace(done=jax.device_put(done, self._sharding("batch")))
            state, generated = decode(
                self._parameters, state, request, steps=self._decode_steps, **self._static
            )
            generated = np.asarray(generated)
        self.observe(len(batch))

    def _prefill(
        self, batch: Sequence[_Answer], settings: SamplingSettings
    ) -> tuple[Request, Answers]:
        shards = axis_size(self._mesh, "batch")
        rows = shards * _bucket(-(-len(batch) // shards), 1)
        context = self._config.max_position_embeddings
        length = min(_bucket(max(len(answer.prompt) for answer in batch)), context)
        needed = max(len(answer.prompt) + answer.limit for answer in batch)
        slots = max(length, min(_bucket(needed), context))
        tokens = np.zeros((rows, length), np.int32)
        lengths, limits, indices = (np.zeros(rows, np.int32) for _ in range(3))
        for row, answer in enumerate(batch):
            tokens[row, : len(answer.prompt)] = answer.prompt
            lengths[row], limits[row] = len(answer.prompt), answer.limit
            indices[row] = answer.index
        key = jax.random.key(settings.seed)
        request = Request(
            keys=jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.asarray(indices)),
            limits=jax.device_put(limits, self._sharding("batch")),
            stop_ids=jnp.array([self._end_of_turn], jnp.int32),
            temperature=jnp.float32(settings.temperature),
            top_p=jnp.float32(settings.top_p),
        )
        state = prefill(
            self._parameters,
            jax.device_put(tokens, self._sharding("batch", "length")),
            jax.device_put(lengths, self._sharding("batch")),
            request,
            slots=slots,
            **self._static,
        )
        return request, state

    def _extend(
        self, answer: _Answer, new: list[int], done: bool, settings: SamplingSettings
    ) -> None:
        """Adds new tokens, and ends the answer where it is done or has met a stop string."""
        for token in new:
            answer.tokens.append(token)
            # A stop string may have begun several tokens ago: the whole text is searched.
            if settings.stop and self._stopped(answer, settings):
                answer.finish_reason = "stop"
                return
        if done:
            ended = answer.tokens[-1] == self._end_of_turn
            answer.finish_reason = "stop" if ended else "length"

    def _stopped(self, answer: _Answer, settings: SamplingSettings) -> bool:
        text = self._tokenizer.decode(answer.tokens)
        return any(stop in text for stop in settings.stop)

    def _completion(self, answer: _Answer, settings: SamplingSettings) -> Completion:
        text = self._tokenizer.decode(answer.tokens)
        cuts = [text.find(stop) for stop in settings.stop if stop in text]
        if cuts:
            text = text[: min(cuts)]
        return Completion(
            self._template.answer_text(text), tuple(answer.tokens), answer.finish_reason
        )

    def _sharding(self, *axes: str) -> jax.sharding.NamedSharding:
        return named_sharding(self._mesh, axes)


def _bucket(size: int, smallest: int = _SMALLEST_BUCKET) -> int:
    """The next power of two, at least ``smallest``."""
    return max(smallest, 1 << (size - 1).bit_length())
