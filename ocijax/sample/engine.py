"""The devices' side of sampling: weights, cache and rows, and the programs that work on them.

Programs are for few shapes, to which lengths are rounded up. But for `Engine.wait`, and where an
engine begins and its slots grow, nothing here waits for a device.
"""

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from ocijax.compiler import known_options
from ocijax.devices import GIBIBYTE, memory_in_use, memory_limit
from ocijax.errors import InputError
from ocijax.model.config import ModelConfig
from ocijax.model.decoder import ComputeConfig
from ocijax.model.parameters import Parameters
from ocijax.sample.cache import abstract_cache, copy_slot, empty_cache, grow
from ocijax.sample.compiled_function import CompiledFunction
from ocijax.sample.decode_attention import choose_decode_kernel
from ocijax.sample.decoding import (
    DTYPES,
    Generated,
    Rows,
    begin,
    decode,
    prefill,
    set_chunks,
    set_history,
    set_rows,
)
from ocijax.sample.fused_layers import programs_for
from ocijax.sample.prefill_attention import choose_prefill_kernel
from ocijax.sample.rotate_and_write import is_for_mosaic
from ocijax.sample.weights import sampling_weights
from ocijax.sharding import axis_size, bytes_on_a_device

_SHORTEST = 64
"""Tokens to which shorter lengths are rounded up."""
LONGEST_CHUNK = 512
"""Tokens of a prompt that are read at once, beside the answers that are generated."""
CHUNK_ROWS = 8
"""Prompts of which a chunk is read at once where several wait; otherwise one."""

_CUBLAS_ALONE = {"xla_gpu_enable_triton_gemm": False}
"""Tries no products of XLA's own, which takes long."""
_CUBLAS_UNTRIED = _CUBLAS_ALONE | {"xla_gpu_autotune_level": 0}
"""Has cuBLAS choose its products itself. Those that win when XLA tries them, one by one and at the
highest clock, are not those that need the least power, which is what bounds long ones."""
_UNSPLIT = {"xla_gpu_experimental_force_split_k": 1}
"""Splits no product along what it sums up: a kernel has to add the parts."""
_FEW_SLOTS = 32
"""Of more, a step without drafts is faster by cuBLAS's products alone, or slower by a percent at
most: some of XLA's own win when it tries them and lose within a step."""
_LOOP_ON_DEVICE = {
    "xla_gpu_enable_command_buffer": (
        "FUSION,CUBLAS,CUBLASLT,CUDNN,CUSTOM_CALL,DYNAMIC_SLICE_FUSION,CONDITIONAL,WHILE"
    )
}
"""Has a GPU decide itself whether to go on; otherwise it waits for the host after each step."""

_HOLE = 4 * 2**20
"""Bytes; more than what goes to and from the host for some calls."""

AT_REST = Rows(*[0] * len(DTYPES))
"""A row that generates nothing."""


class Chunk(NamedTuple):
    """What is read at once of a prompt.

    Attributes:
      start: position of its first token.
      length: its tokens.
      window: places of the slot that it looks at, from the first; 0: its own tokens alone.
    """

    start: int
    length: int
    window: int

    def ends(self, prompt: np.ndarray) -> bool:
        """Whether the prompt's last token is among those read."""
        return self.start + self.length >= len(prompt)


class Engine:
    """Slots of a cache, each with a row that says how its answer goes on.

    Args:
      config: the model's shape.
      parameters: on the mesh, see `ocijax.model.parameters.parameter_table`.
      compute: how the forward runs.
      mesh: where the parameters are.
      slots: how many; rounded up to as many on each device along the batch axes.
      context: most tokens of a slot.
      steps: forwards of a call of `decode`.
      draft_tokens: most that are looked up for each forward; 0: never any.
      stop_id: the token that ends an answer.
      room: tokens that slots hold at least; they grow as they are needed. They are made when they
        are first: until then the parameters, which the weights are made of, may be let go.
      int8_weights: hold the layers' weights in eight bits.
      int8_cache: hold keys and values in eight bits.
    """

    def __init__(
        self,
        config: ModelConfig,
        parameters: Parameters,
        compute: ComputeConfig,
        mesh: Mesh,
        *,
        slots: int,
        context: int,
        steps: int,
        draft_tokens: int,
        stop_id: int,
        room: int = 1,
        int8_weights: bool = False,
        int8_cache: bool = False,
    ):
        parts = axis_size(mesh, "batch")
        self.slots = -(-slots // parts) * parts
        self._context = context
        self._draft_tokens = draft_tokens
        self._stop_ids = np.array([stop_id], np.int32)
        self._shape = config, "int8" if int8_cache else compute.dtype, mesh, self.slots
        self._mesh = mesh
        self._dtype = compute.dtype
        self._everywhere = NamedSharding(mesh, PartitionSpec())
        self._keeps_addresses = _has_command_buffers(mesh)
        gpu = mesh.devices.flat[0].platform == "gpu"
        # By the most tokens that are looked up, which a forward reads too.
        fused = {
            drafts: programs_for(config, parameters, *self._shape[1:3], self.slots * (1 + drafts))
            for drafts in {0, draft_tokens}
        }
        if int8_weights:
            fused = dict.fromkeys(fused, 0)
        # For one conversation each weight is multiplied with a single row, but for drafts.
        transposed = (gpu and self.slots == 1) or any(fused.values())
        weights = sampling_weights(
            *(config, parameters, compute.dtype, mesh), transposed=transposed, int8=int8_weights
        )
        self._free = memory_limit(mesh.local_devices[0]) - bytes_on_a_device(weights)
        # What they are made of is held until they are there.
        jax.block_until_ready(weights)
        static = {"config": config, "compute": compute, "mesh": mesh, "transposed": transposed}
        self._prefill = CompiledFunction(
            *(prefill, weights),
            options=_CUBLAS_UNTRIED if gpu else {},
            kernel=choose_prefill_kernel(config, compute.dtype, mesh),
            **static,
        )

        self._decode = {
            drafts: CompiledFunction(
                *(decode, weights),
                options=_decode_options(self.slots // parts, drafts, int8_weights) if gpu else {},
                steps=steps,
                draft_tokens=drafts,
                fused_write=is_for_mosaic(*self._shape[:3]),
                programs=programs,
                **static,
            )
            for drafts, programs in fused.items()
        }
        self._begin = CompiledFunction(
            begin, weights, options=_LOOP_ON_DEVICE if gpu else {}, **static
        )
        self._copy = CompiledFunction(copy_slot, mesh=mesh)
        self._set_rows = CompiledFunction(set_rows, mesh=mesh)
        self._set_history = CompiledFunction(set_history, mesh=mesh)
        self._set_chunks = CompiledFunction(set_chunks, mesh=mesh)
        self._hidden: dict[int, jax.Array] = {}
        self._chunks: dict[tuple[int, ...], tuple[jax.Array, ...]] = {}
        rows = Rows(*(np.zeros(self.slots, dtype) for dtype in DTYPES))
        self._rows = jax.device_put(rows, self._everywhere)
        self._cache = self._history = None
        self._places = self._places_for(room)
        self._check_memory(self._places)

    @property
    def programs(self) -> int:
        """How many were compiled."""
        functions = self._prefill, self._begin, *self._decode.values(), self._copy
        setters = self._set_rows, self._set_history, self._set_chunks
        return sum(map(len, (*functions, *setters)))

    def check_room(self, tokens: int) -> None:
        """Checks that slots of so many tokens fit beside the model.

        Raises:
          InputError: they do not; it says how many slots would.
        """
        places = max(self._places_for(tokens), self._places)
        if self._cache is None or places > self._places:
            self._check_memory(places)

    def _check_memory(self, places: int, computing: int = 0) -> None:
        """Checks that slots of so many places fit beside the model and bytes that are computed in.

        Raises:
          InputError: they do not.
        """
        needed = bytes_on_a_device(abstract_cache(*self._shape, places))
        if needed + computing <= self._free:
            return
        taken, beside, free = (
            f"{size / GIBIBYTE:.2f} GiB" for size in (needed, computing, self._free)
        )
        fitting = f"{max(0, self.slots * (self._free - computing) // needed)} fit"
        if computing:
            # Of fewer slots programs compute in less.
            taken, fitting = f"{taken} and {beside} to compute in", f"at least {fitting}"
        raise InputError(
            f"{self.slots} conversations at once, of {places:,} tokens each, take {taken} of a "
            f"device, where {free} are left beside the model: {fitting}"
        )

    def make_room(self, tokens: int) -> None:
        """Makes slots hold so many tokens; what they hold stays.

        Raises:
          InputError: they do not fit beside the model, see `check_room`.
        """
        places = max(self._places_for(tokens), self._places)
        if self._cache is not None and places == self._places:
            return
        if self._cache is None:
            device = self._mesh.local_devices[0]
            if (taken := memory_in_use(device)) is not None:
                # What else is there now takes from what slots may, as long as these are there.
                self._free = min(self._free, memory_limit(device) - taken)
        self._check_memory(places)
        recorded = places if self._draft_tokens else 0
        if self._cache is None:
            self._cache = empty_cache(*self._shape, places)
            history = np.zeros((self.slots, recorded), np.int32)
        else:
            self._grow(places)
            history = jnp.pad(self._history, [(0, 0), (0, recorded - self._history.shape[1])])
        self._places = places
        self._history = jax.device_put(history, self._everywhere)
        if self._keeps_addresses:
            self._keep_small_arrays_apart()

    def _grow(self, places: int) -> None:
        """Gives the cache so many places, layer by layer, so that only one is there twice."""
        layers, self._cache = list(self._cache), ()
        try:
            # The first one, by which programs know how many places there are, comes last.
            for index in reversed(range(len(layers))):
                layer = grow(layers[index], mesh=self._mesh, places=places)
                layers[index] = jax.block_until_ready(layer)
        finally:
            self._cache = tuple(layers)

    def _keep_small_arrays_apart(self) -> None:
        """Leaves a hole in a device's memory, where small arrays come to lie from then on.

        Beside the memory that programs compute in they would move it now and then, which costs what
        `_in_place` avoids. The wall keeps the hole apart from the free memory behind.
        """
        empty = np.zeros(_HOLE, np.int8)
        hole, self._wall = (jax.device_put(empty, self._everywhere) for _ in range(2))
        jax.block_until_ready((hole, self._wall))

    def copy(self, source: int, target: int, tokens: int) -> None:
        """Has one slot hold the first tokens of another."""
        places = min(_bucket(tokens), self._places)
        self._cache = self._copy(self._cache, np.int32(source), np.int32(target), places=places)

    def next_chunk(self, known: int, tokens: int) -> Chunk:
        """What to read of a prompt of so many ``tokens`` of which the first ``known`` are read.

        Where it would end behind the slot, it begins earlier and reads some again.
        """
        length = min(_bucket(tokens - known), LONGEST_CHUNK, self._places)
        start = min(known, self._places - length)
        return Chunk(start, length, self._prefill_window(start + length) if start else 0)

    def prefill(self, prompts: Mapping[int, tuple[np.ndarray, Chunk]]) -> jax.Array:
        """Reads a chunk of some prompts.

        Args:
          prompts: by slot; at most `CHUNK_ROWS`, with chunks of one length and window.

        Returns:
          The hidden states at the last tokens read, for `begin`; valid until the next call.
        """
        rows = [(slot, *prompt) for slot, prompt in prompts.items()]
        # Equal rows are read as one.
        rows += rows[:1] * ((CHUNK_ROWS if len(rows) > 1 else 1) - len(rows))
        *_, (_, length, window) = rows[0]
        tokens = np.zeros((len(rows), length), np.int32)
        for row, (_, prompt, chunk) in zip(tokens, rows, strict=True):
            read = prompt[chunk.start : chunk.start + length]
            row[: len(read)] = read
        slots = np.array([slot for slot, _, _ in rows], np.int32)
        starts = np.array([chunk.start for _, _, chunk in rows], np.int32)
        left = [len(prompt) - chunk.start for _, prompt, chunk in rows]
        ends = np.minimum(left, length).astype(np.int32) - 1
        chunks = self._in_place(tokens, slots, starts, ends)
        hidden = self._hidden.pop(len(rows), None)
        if hidden is None:
            shape = self._hidden_shape(len(rows))
            hidden = jnp.zeros(shape.shape, shape.dtype, device=shape.sharding)
        self._cache, hidden = self._prefill(self._cache, hidden, *chunks, window=window)
        self._hidden[len(rows)] = hidden
        return hidden

    def _in_place(self, *chunks: np.ndarray) -> tuple[jax.Array | np.ndarray, ...]:
        """What `prefill` is given, on a GPU where it was given the last of such shapes.

        Where any argument has moved, the host writes the program's command buffer anew, which takes
        as long as a device needs for half of a short chunk.
        """
        if not self._keeps_addresses:
            return chunks
        shape = chunks[0].shape
        if (old := self._chunks.pop(shape, None)) is None:
            old = jax.device_put(chunks, self._everywhere)
        self._chunks[shape] = new = self._set_chunks(old, chunks)
        return new

    def begin(
        self,
        slots: Sequence[int],
        hidden: jax.Array,
        rows: Mapping[int, Rows],
        prompts: Mapping[int, np.ndarray],
    ) -> Generated:
        """Begins the answers of prompts that `prefill` has just read whole.

        Args:
          slots: those of its prompts, in order.
          hidden: what it returned.
          rows: how the answers go on, by slot; each field a number.
          prompts: their tokens, likewise.
        """
        count = len(hidden)
        nobody = self.slots, AT_REST, ()
        begun = [(slot, rows[slot], prompts[slot]) if slot in rows else nobody for slot in slots]
        begun += [nobody] * (count - len(begun))
        places, numbers, texts = zip(*begun, strict=True)
        fields = zip(zip(*numbers, strict=True), DTYPES, strict=True)
        history = np.zeros((count, self._history.shape[1]), np.int32)
        for row, text in zip(history, texts, strict=True):
            row[: len(text)] = text[: len(row)]
        self._rows, self._history, generated = self._begin(
            *(self._rows, self._history, self._stop_ids, hidden, np.array(places, np.int32)),
            Rows(*(np.array(column, dtype) for column, dtype in fields)),
            history,
        )
        return _copied_to_host(generated)

    def set_rows(self, rows: Mapping[int, Rows], prompts: Mapping[int, np.ndarray]) -> None:
        """Says how the answers in some slots go on.

        Args:
          rows: by slot, each field a number; `AT_REST` for none.
          prompts: the tokens of those that begin, by slot, ``[length]`` int32.
        """
        if not rows:
            return
        slots = _column(list(rows), self.slots, "int32", self.slots)
        fields = zip(zip(*rows.values(), strict=True), DTYPES, strict=True)
        new = Rows(*(_column(numbers, self.slots, dtype) for numbers, dtype in fields))
        self._rows = self._set_rows(self._rows, slots, new)
        for slot, prompt in prompts.items() if self._draft_tokens else ():
            tokens = _column(prompt, self._places, "int32")
            self._history = self._set_history(self._history, np.int32(slot), tokens)

    def decode(self, filled: int, draft_tokens: int) -> Generated:
        """Goes on with all answers.

        Args:
          filled: places that any of them may fill by then.
          draft_tokens: looked up for each forward.

        """
        self._cache, self._rows, self._history, generated = self._decode[draft_tokens](
            *(self._cache, self._rows, self._history, self._stop_ids),
            **self._decode_choices(filled, draft_tokens),
        )
        return _copied_to_host(generated)

    def wait(self) -> None:
        """Waits until the devices have done all that they were given."""
        jax.block_until_ready((self._cache, self._rows, self._history))

    def compile_ahead(self) -> None:
        """Compiles all programs there may be need of, several at once; slots hold the context.

        Raises:
          InputError: what the programs compute in does not fit beside the slots.
        """
        self.make_room(self._context)
        state = jax.tree.map(_abstract, (self._cache, self._rows, self._history))
        cache, rows, history = state
        filled = range(1, self._places + 1)
        buckets = {min(_bucket(tokens), self._places) for tokens in filled}
        lengths = {min(places, LONGEST_CHUNK) for places in buckets}
        shapes = [(count, length) for count in {1, CHUNK_ROWS} for length in lengths]

        def chunks(count: int, length: int, sharding: NamedSharding | None = None) -> tuple:
            each = (count, length), (count,), (count,), (count,)
            return tuple(_integers(*shape, sharding=sharding) for shape in each)

        with ThreadPoolExecutor(os.cpu_count()) as threads:
            compiling = [
                threads.submit(
                    self._prefill.compile,
                    cache,
                    self._hidden_shape(count),
                    *chunks(count, length, self._everywhere if self._keeps_addresses else None),
                    window=window,
                )
                for count, length in shapes
                for window in {0, *map(self._prefill_window, filled)}
                if not window or window >= length
            ]
            compiling += [
                threads.submit(
                    self._set_chunks.compile, chunks(*shape, self._everywhere), chunks(*shape)
                )
                for shape in shapes
                if self._keeps_addresses
            ]
            compiling += [
                threads.submit(
                    self._begin.compile,
                    *(rows, history, self._stop_ids),
                    self._hidden_shape(count),
                    _integers(count),
                    Rows(*(jax.ShapeDtypeStruct((count,), dtype) for dtype in DTYPES)),
                    _integers(count, history.shape[1]),
                )
                for count in {1, CHUNK_ROWS}
            ]
            compiling += [
                threads.submit(function.compile, *state, self._stop_ids, **dict(choices))
                for drafts, function in self._decode.items()
                for choices in {
                    tuple(self._decode_choices(places, drafts).items()) for places in filled
                }
            ]
            compiling += [
                threads.submit(self._copy.compile, cache, *[np.int32(0)] * 2, places=places)
                for places in buckets
            ]
            new = Rows(*(jax.ShapeDtypeStruct((self.slots,), dtype) for dtype in DTYPES))
            compiling.append(
                threads.submit(self._set_rows.compile, rows, _integers(self.slots), new)
            )
            if self._draft_tokens:
                compiling.append(
                    threads.submit(
                        self._set_history.compile, history, np.int32(0), _integers(self._places)
                    )
                )
            programs = [each.result() for each in compiling]
        computing = max(one.memory_analysis().temp_size_in_bytes for one in programs)
        self._check_memory(self._places, computing)

    def _places_for(self, tokens: int) -> int:
        """Of a slot that holds so many tokens."""
        beside = 1 + self._draft_tokens  # where rows at rest write, and drafts that are wrong
        # All that there may be is not rounded up to a power of two.
        most = -(-(self._context + beside) // _SHORTEST) * _SHORTEST
        return min(_bucket(tokens + beside), most)

    def _hidden_shape(self, count: int) -> jax.ShapeDtypeStruct:
        """What `prefill` returns of so many prompts."""
        shape = count, self._shape[0].hidden_size
        return jax.ShapeDtypeStruct(shape, self._dtype, sharding=self._everywhere)

    def _prefill_window(self, filled: int) -> int:
        """Places that a chunk looks at which goes on; few steps, since there are many lengths."""
        return min(max(_bucket(filled), LONGEST_CHUNK), self._places)

    def _decode_choices(self, filled: int, draft_tokens: int) -> dict[str, Any]:
        """What a program of `decode` is compiled for."""
        config, dtype, mesh, slots = self._shape
        kernel = choose_decode_kernel(config, dtype, mesh, slots, 1 + draft_tokens)
        # cuDNN's reads what is filled, whatever it is given.
        window = self._places if kernel == "cudnn" else min(_bucket(filled), self._places)
        return {"window": window, "kernel": kernel}


def _decode_options(slots: int, draft_tokens: int, int8_weights: bool) -> dict[str, Any]:
    """Options of a GPU's compiler for `decode`, with so many slots on each device."""
    # XLA's own products read weights in eight bits as they are, and drafts from where they lie.
    if slots > _FEW_SLOTS and not draft_tokens and not int8_weights:
        return _LOOP_ON_DEVICE | _CUBLAS_ALONE
    return _LOOP_ON_DEVICE | known_options(_UNSPLIT)


def _has_command_buffers(mesh: Mesh) -> bool:
    """Whether the host gives programs to the devices as lists of commands with all addresses."""
    return mesh.devices.flat[0].platform == "gpu"


def _copied_to_host(generated: Generated) -> Generated:
    for array in generated:
        # Now: asked for after the next call, it would come after that one.
        array.copy_to_host_async()
    return generated


def _bucket(length: int) -> int:
    """The next power of two."""
    return max(_SHORTEST, 1 << (length - 1).bit_length())


def _column(numbers: Sequence[float], size: int, dtype: str, fill: int = 0) -> np.ndarray:
    """``[size]``, filled at the end."""
    column = np.full(size, fill, dtype)
    column[: len(numbers)] = numbers
    return column


def _abstract(array: jax.Array) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(array.shape, array.dtype, sharding=array.sharding)


def _integers(*shape: int, sharding: NamedSharding | None = None) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(shape, jnp.int32, sharding=sharding)
