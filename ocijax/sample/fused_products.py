"""What a layer does after attention, and the next one's query, key and value, by one kernel.

For NVIDIA's Hopper GPUs. Four products follow each other there, each of which needs all that the
one before gives, with norms, an activation and residuals between. As kernels of their own they
leave the memory idle while each begins, while its last programs end, and in what is between. Here
every multiprocessor runs one program, which has a part of each product's outputs, and which fetches
the next product's weights while it waits for the others.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import mosaic_gpu as plgpu
from jaxlib.mlir import ir
from jaxlib.mlir.dialects import llvm

from ocijax.sample.product_plan import (
    ACTIVATION_STAGES,
    ALIGNMENT,
    INPUTS,
    ROWS,
    STAGES_AT_FIRST,
    Plan,
    Product,
    plan_products,
)

_REGISTERS = 128
"""Of a thread to begin with: four warpgroups divide the 65,536 of a multiprocessor."""
_LAYOUT = plgpu.Layout.WGMMA
_EACH_COLUMN, _EACH_ROW = _LAYOUT.reduce(0), _LAYOUT.reduce(1)

_WITH_SQUARES = 1, 3
"""Products of what norms give."""

_load = partial(plgpu.load, idx=()) if jax.__version_info__ < (0, 11) else plgpu.load


class _Shared(NamedTuple):
    """Memory of a program's warpgroups, and the barriers by which they hand it to each other.

    Stages are filled when ``_full`` says so, and again when ``_empty`` does.
    """

    weights: Any
    weights_full: Any
    weights_empty: Any
    activations: Any
    activations_full: Any
    activations_empty: Any
    squares_ready: Any
    roots: Any
    roots_ready: Any
    done: Any


class _Given(NamedTuple):
    """What `fused_products` is given, in global memory."""

    context: Any
    hidden: Any
    output: Any
    mlp_norm: Any
    gate_up: Any
    down: Any
    attention_norm: Any
    query_key_value: Any


class _Made(NamedTuple):
    """What it returns, and what programs give each other, all of `ROWS` rows.

    What the norms give is not divided by the root of its mean square yet, which is only known when
    all programs are done: what it is multiplied to is.
    """

    hidden: Any
    joined: Any
    mlp_normed: Any
    mlp_squares: Any
    activated: Any
    attention_normed: Any
    attention_squares: Any


@partial(jax.jit, static_argnames=("epsilon", "programs"))
def fused_products(
    context: jax.Array,
    hidden: jax.Array,
    output: jax.Array,
    mlp_norm: jax.Array,
    gate_up: jax.Array,
    down: jax.Array,
    attention_norm: jax.Array,
    query_key_value: jax.Array,
    *,
    epsilon: float,
    programs: int,
) -> tuple[jax.Array, jax.Array]:
    """The hidden state after a layer, and the next layer's query, key and value, not rotated yet.

    As `ocijax.model.decoder.DecoderLayer` computes them of a Llama, but that norms round once less.
    Jitted, so that layers that are alike share one kernel. Programs wait for each other: nothing
    else may keep a multiprocessor until they are done.

    Args:
      context: ``[rows, heads * head_dim]``, what attention gives.
      hidden: ``[64, hidden]``, before the layer; rows from ``rows`` on may hold anything.
      output: ``[hidden, heads * head_dim]``, the layer's weights, as the next ones.
      mlp_norm: ``[hidden]``.
      gate_up: ``[2, intermediate, hidden]``.
      down: ``[hidden, intermediate]``.
      attention_norm: ``[hidden]``, the next layer's, as the next one.
      query_key_value: ``[(heads + 2 * key_value_heads) * head_dim, hidden]``.
      epsilon: of the norms.
      programs: how many, at most as many as the device has multiprocessors.

    Returns:
      The hidden state ``[64, hidden]``, and query, key and value, joined, ``[64, ...]``; rows from
      ``rows`` on hold anything.
    """
    rows, attended = context.shape
    size, inner = down.shape
    dtype = context.dtype
    plan = plan_products(rows, attended, size, inner, len(query_key_value), programs)

    def made(width: int) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct((ROWS, width), dtype)

    output_product, activated_product, *_ = plan.products
    squares = jax.ShapeDtypeStruct((_round_up(output_product.tiles, ROWS), ROWS), jnp.float32)
    # A program writes all of its tile, also where that reaches beyond the outputs.
    activated = made(_round_up(activated_product.tiles * activated_product.tile, INPUTS))

    transforms = plgpu.TilingTransform((ALIGNMENT, INPUTS)), plgpu.SwizzleTransform(2 * INPUTS)
    shared_memory = partial(plgpu.SMEM, dtype=dtype, transforms=transforms)
    shared = _Shared(
        weights=shared_memory((plan.stages, plan.stage_rows, INPUTS)),
        weights_full=plgpu.Barrier(num_arrivals=plan.copies, num_barriers=plan.stages),
        weights_empty=plgpu.Barrier(num_barriers=plan.stages),
        activations=shared_memory((plan.activation_rows, INPUTS)),
        activations_full=plgpu.Barrier(num_arrivals=plan.parts, num_barriers=ACTIVATION_STAGES),
        activations_empty=plgpu.Barrier(num_barriers=ACTIVATION_STAGES),
        squares_ready=plgpu.Barrier(num_barriers=2),
        roots=plgpu.SMEM((2, ROWS), jnp.float32),
        roots_ready=plgpu.Barrier(num_barriers=2),
        done=plgpu.Barrier(num_barriers=3),
    )

    def kernel(*arrays):
        given, made = _Given(*arrays[: len(_Given._fields)]), _Made(*arrays[len(_Given._fields) :])
        pl.run_scoped(
            partial(_program, plan, epsilon, given, made), shared, collective_axes="warpgroup"
        )

    hidden, joined, *_ = pl.kernel(
        kernel,
        out_type=_Made(
            hidden=made(size),
            joined=made(len(query_key_value)),
            mlp_normed=made(size),
            mlp_squares=squares,
            activated=activated,
            attention_normed=made(size),
            attention_squares=squares,
        ),
        mesh=plgpu.Mesh(
            grid=(programs,), grid_names=("program",), num_threads=4, thread_name="warpgroup"
        ),
        compiler_params=plgpu.CompilerParams(
            approx_math=True, lowering_semantics=plgpu.LoweringSemantics.Lane
        ),
    )(context, hidden, output, mlp_norm, gate_up, down, attention_norm, query_key_value)
    return hidden, joined


def _program(plan: Plan, epsilon: float, given: _Given, made: _Made, shared: _Shared) -> None:
    """One of the kernel's: each of its warpgroups does its own part of all products."""
    done = _GridBarrier(plan.programs, shared.done)
    if plan.programs > 1:
        semaphores = plgpu.SemaphoreType.REGULAR((len(plan.products) - 1,))
        done = _GridBarrier(plan.programs, pl.get_global(semaphores))
    weights = given.output, given.gate_up, given.down, given.query_key_value
    activations = given.context, made.mlp_normed, made.activated, made.attention_normed
    for index, (registers, work) in enumerate(
        (
            (240, partial(_multiply, plan, given, made, shared, done)),
            (40, partial(_fetch_weights, plan, weights, shared)),
            (40, partial(_fetch_activations, plan, activations, shared, done)),
            (88, partial(_find_roots, plan, epsilon, made, shared)),
        )
    ):

        @pl.when(lax.axis_index("warpgroup") == index)
        def _(registers=registers, work=work):
            action = "increase" if registers > _REGISTERS else "decrease"
            plgpu.set_max_registers(registers, action=action)
            work()


@dataclass(frozen=True)
class _GridBarrier:
    """Where all programs wait for each other after a product.

    A single program needs no semaphores, which JAX's interpreter does not have.
    """

    programs: int
    places: Any

    def arrive(self, product: int) -> None:
        """Says that this program has stored all that it has of a product."""
        if self.programs == 1:
            plgpu.barrier_arrive(self.places.at[product])
        else:
            plgpu.semaphore_signal(self.places.at[product], 1, memory_scope="gpu")

    def wait(self, product: int) -> None:
        """Returns when all programs have arrived."""
        if self.programs == 1:
            plgpu.barrier_wait(self.places.at[product])
        else:
            plgpu.semaphore_wait(
                self.places.at[product], self.programs, decrement=False, memory_scope="gpu"
            )


def _fetch_weights(plan: Plan, arrays: Sequence[Any], shared: _Shared) -> None:
    """Has weights copied to shared memory, ahead of the products as far as there is room."""
    stages = plan.stages

    def wait_for(number, _):
        plgpu.barrier_wait(shared.weights_full.at[lax.rem(number, stages)])

    def fetch(product: Product, array: Any, step, arrived):
        number = product.before + step
        stage = lax.rem(number, stages)

        @pl.when(number >= stages)
        def _():
            plgpu.barrier_wait(shared.weights_empty.at[stage])

        waiting = (step < stages) & (product.before > 0)
        under_way = jnp.where(waiting, STAGES_AT_FIRST, plan.stages_under_way(product))
        last_arrived = jnp.maximum(arrived, number + 1 - under_way)
        lax.fori_loop(arrived, last_arrived, wait_for, None)

        outputs = pl.ds(lax.axis_index("program") * product.tile, product.tile)
        for copy in range(product.copies):
            part, group = divmod(copy, product.groups)
            inputs = pl.ds((step * product.parts + part) * INPUTS, INPUTS)
            place = (group, outputs, inputs) if product.groups > 1 else (outputs, inputs)
            plgpu.copy_gmem_to_smem(
                array.at[place],
                shared.weights.at[stage, pl.ds(copy * product.tile, product.tile)],
                shared.weights_full.at[stage],
            )
        for _ in range(plan.copies - product.copies):
            plgpu.barrier_arrive(shared.weights_full.at[stage])
        return last_arrived

    arrived = jnp.int32(0)
    for product, array in zip(plan.products, arrays, strict=True):
        arrived = lax.fori_loop(0, product.steps, partial(fetch, product, array), arrived)
    lax.fori_loop(arrived, plan.steps, wait_for, None)


def _fetch_activations(
    plan: Plan, arrays: Sequence[Any], shared: _Shared, done: _GridBarrier
) -> None:
    """Has activations copied to shared memory, once all programs have stored theirs."""

    def fetch(product: Product, array: Any, step, _):
        number = product.before + step
        stage = lax.rem(number, ACTIVATION_STAGES)

        @pl.when(number >= ACTIVATION_STAGES)
        def _():
            plgpu.barrier_wait(shared.activations_empty.at[stage])

        for part in range(product.parts):
            inputs = pl.ds((step * product.parts + part) * INPUTS, INPUTS)
            plgpu.copy_gmem_to_smem(
                array.at[pl.ds(0, plan.rows), inputs],
                shared.activations.at[pl.ds(plan.first_activation_row(stage, part), plan.rows)],
                shared.activations_full.at[stage],
            )
        for _ in range(plan.parts - product.parts):
            plgpu.barrier_arrive(shared.activations_full.at[stage])

    for index, (product, array) in enumerate(zip(plan.products, arrays, strict=True)):
        if index:
            done.wait(index - 1)
            _have_copies_see_stores()
            if index in _WITH_SQUARES:
                plgpu.barrier_arrive(shared.squares_ready.at[_WITH_SQUARES.index(index)])
        lax.fori_loop(0, product.steps, partial(fetch, product, array), None)


def _have_copies_see_stores() -> None:
    """Orders copies from here on after what threads stored that this one knows of."""

    @plgpu.inline_mgpu()
    def fence(_):
        void = ir.Type.parse("!llvm.void")
        llvm.inline_asm(void, [], "fence.proxy.async;", "", has_side_effects=True)

    fence()


def _find_roots(plan: Plan, epsilon: float, made: _Made, shared: _Shared) -> None:
    """Finds what the norms divide by, of the sums of squares that programs store."""
    hidden = plan.products[0]
    for index, squares in enumerate((made.mlp_squares, made.attention_squares)):
        plgpu.barrier_wait(shared.squares_ready.at[index])
        total = jnp.float32(0)
        for start in range(0, hidden.tiles, ROWS):
            tiles = squares.at[pl.ds(start, ROWS), pl.ds(0, plan.rows)]
            sums = _load(tiles, layout=_LAYOUT, optimized=False)
            if hidden.tiles - start < ROWS:
                tile = plgpu.broadcasted_iota(jnp.int32, sums.shape, 0, layout=_LAYOUT)
                sums = jnp.where(tile < hidden.tiles - start, sums, 0.0)
            total += sums
        mean = total.sum(axis=0) / hidden.outputs
        shared.roots[index, pl.ds(0, plan.rows)] = lax.rsqrt(mean + epsilon)
        plgpu.barrier_arrive(shared.roots_ready.at[index])


def _multiply(plan: Plan, given: _Given, made: _Made, shared: _Shared, done: _GridBarrier) -> None:
    """Multiplies, and does all that is between products."""
    index = lax.axis_index("program")
    output, activated, down, joined = plan.products
    dtype = given.hidden.dtype

    mine = pl.ds(jnp.minimum(index, output.tiles - 1) * output.tile, output.tile)
    hidden = _load(given.hidden.at[:, mine], layout=_LAYOUT, optimized=False)
    mlp_norm, attention_norm = (
        _load(norm.at[mine], layout=_EACH_COLUMN, optimized=False)
        for norm in (given.mlp_norm, given.attention_norm)
    )

    def store(product: Product, array: jax.Array, target: Any) -> None:
        @pl.when(index < product.tiles)
        def _():
            target[:, pl.ds(index * product.tile, product.tile)] = array

    def store_normed(product: Product, hidden: jax.Array, norm: jax.Array, targets) -> None:
        normed, squares = targets
        wide = hidden.astype(jnp.float32)
        weight = lax.broadcast_in_dim(norm.astype(jnp.float32), wide.shape, [1])
        store(product, (wide * weight).astype(dtype), normed)
        sums = (wide * wide).sum(axis=1)

        @pl.when(index < product.tiles)
        def _():
            squares[index] = sums

    def rooted(array: jax.Array, place: int) -> jax.Array:
        root = _load(shared.roots.at[place], layout=_EACH_ROW)
        return (array * lax.broadcast_in_dim(root, array.shape, [0])).astype(dtype)

    (found,) = _sums(plan, output, shared)
    hidden += found.astype(dtype)
    store_normed(output, hidden, mlp_norm, (made.mlp_normed, made.mlp_squares))
    done.arrive(0)

    found = _sums(plan, activated, shared)
    plgpu.barrier_wait(shared.roots_ready.at[0])
    gate, up = (rooted(array, 0).astype(jnp.float32) for array in found)
    # A root of the sigmoid: faster than its quotient.
    root = lax.rsqrt(1 + jnp.exp(-gate))
    store(activated, (gate * root * root * up).astype(dtype), made.activated)
    done.arrive(1)

    (found,) = _sums(plan, down, shared)
    hidden += found.astype(dtype)
    store_normed(down, hidden, attention_norm, (made.attention_normed, made.attention_squares))
    done.arrive(2)
    store(down, hidden, made.hidden)

    (found,) = _sums(plan, joined, shared)
    plgpu.barrier_wait(shared.roots_ready.at[1])
    store(joined, rooted(found, 1), made.joined)


def _sums(plan: Plan, product: Product, shared: _Shared) -> tuple[jax.Array, ...]:
    """A program's part of a product, ``[ROWS, tile]`` fp32 of each group."""

    def step(sums, step, _):
        number = product.before + step
        stage = lax.rem(number, plan.stages)
        activation_stage = lax.rem(number, ACTIVATION_STAGES)
        plgpu.barrier_wait(shared.weights_full.at[stage])
        plgpu.barrier_wait(shared.activations_full.at[activation_stage])
        for copy in range(product.copies):
            part, group = divmod(copy, product.groups)
            start = plan.first_activation_row(activation_stage, part)
            weights = shared.weights.at[stage, pl.ds(copy * product.tile, product.tile)]
            plgpu.wgmma(
                sums[group],
                shared.activations.at[pl.ds(start, ROWS)],
                plgpu.transpose_ref(weights, (1, 0)),
            )
        plgpu.wgmma_wait(0)

        # Each arrival is waited for.
        @pl.when(number + plan.stages < plan.steps)
        def _():
            plgpu.barrier_arrive(shared.weights_empty.at[stage])

        @pl.when(number + ACTIVATION_STAGES < plan.steps)
        def _():
            plgpu.barrier_arrive(shared.activations_empty.at[activation_stage])

    def steps(*sums):
        lax.fori_loop(0, product.steps, partial(step, sums), None)
        return tuple(total[...] for total in sums)

    accumulator = plgpu.ACC((ROWS, product.tile), jnp.float32)
    return pl.run_scoped(steps, *[accumulator] * product.groups)


def _round_up(number: int, multiple: int) -> int:
    return -(-number // multiple) * multiple
