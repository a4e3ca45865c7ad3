"""A jitted function that is compiled once for what is alike, when it is needed or before."""

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Any

import jax

# As with jitted functions, what one has compiled serves all that are alike.
_compiled: dict[Any, Future] = {}
_lock = threading.Lock()


class CompiledFunction:
    """Calls a jitted function, by a program for each shape of its arrays and each choice.

    Unlike a jitted function it can be compiled for shapes that are still to come, by several
    threads at once, and says how many programs it has.

    Example::

      add = CompiledFunction(jax.jit(lambda one, other, *, twice: ...), one)
      add.compile(jax.ShapeDtypeStruct((3,), "float32"), twice=True)
      add(other, twice=True)                                          # compiles nothing

    Args:
      function: jitted.
      first: its first arguments, those that are always the same.
      options: of the compiler, by name.
      static: static arguments that are always the same.
    """

    def __init__(
        self, function: Callable, *first: Any, options: Mapping[str, Any] | None = None, **static
    ):
        self._function = function
        self._first = first
        self._options = dict(options or {})
        self._static = static
        choices = *sorted(self._options.items()), *sorted(static.items())
        self._key = function, _shapes(first), *choices
        self._programs: dict[Any, Future] = {}

    def __len__(self) -> int:
        """How many programs it was compiled to."""
        return len(self._programs)

    def __call__(self, *arguments: Any, **choices: Any) -> Any:
        """Runs it on arrays, with static arguments by name."""
        return self.compile(*arguments, **choices)(*self._first, *arguments)

    def compile(self, *arguments: Any, **choices: Any) -> jax.stages.Compiled:
        """The program for arrays, or `jax.ShapeDtypeStruct`s, like these."""
        key = *self._key, _shapes(arguments), *sorted(choices.items())
        with _lock:
            begun = key in _compiled
            self._programs[key] = future = _compiled.setdefault(key, Future())
        if not begun:
            try:
                lowered = self._function.lower(*self._first, *arguments, **self._static, **choices)
                future.set_result(lowered.compile(self._options))
            except BaseException as error:
                with _lock:
                    del _compiled[key]
                future.set_exception(error)
        return future.result()


def _shapes(tree: Any) -> tuple[Any, ...]:
    """What arrays must have in common to be given to one program."""
    leaves, structure = jax.tree.flatten(tree)
    return structure, *((one.shape, one.dtype, _placement(one)) for one in leaves)


def _placement(array: Any) -> Any:
    """Where an array is; ``None`` for one of the host, which may go anywhere."""
    sharding = getattr(array, "sharding", None)
    # On one device all shardings are the same, whatever they are called.
    alone = sharding is not None and len(sharding.device_set) == 1
    return frozenset(sharding.device_set) if alone else sharding
