"""A jitted function whose programs are compiled once, before they are needed or when they are."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import jax

_compiled: dict[Any, Future] = {}
_lock = threading.Lock()
# As with jitted functions, what one has compiled serves all that are alike.


class Program:
    """Calls a jitted function, by a program for each shape of its arrays and each choice.

    Unlike a jitted function it can be compiled for shapes that are still to come, by several
    threads at once, and says how many programs it has.

    Example::

      add = Program(jax.jit(lambda one, other, *, twice: ...), one)
      add.compile(jax.ShapeDtypeStruct((3,), "float32"), twice=True)
      add(other, twice=True)                                          # compiles nothing

    Args:
      function: jitted; its first argument is ``first``.
      first: as good as constant.
      static: static arguments that are always the same.
    """

    def __init__(self, function: Callable, first: Any, **static: Any):
        self._function = function
        self._first = first
        self._static = static
        self._key = function, _shapes(first), *sorted(static.items())
        self._programs: dict[Any, Future] = {}

    def __len__(self) -> int:
        """How many programs it was compiled to."""
        return len(self._programs)

    def __call__(self, *arguments: Any, **choices: Any) -> Any:
        """Runs it on arrays, with static arguments by name."""
        return self.compile(*arguments, **choices)(self._first, *arguments)

    def compile(self, *arguments: Any, **choices: Any) -> jax.stages.Compiled:
        """The program for arrays, or `jax.ShapeDtypeStruct`s, like these."""
        key = *self._key, _shapes(arguments), *sorted(choices.items())
        with _lock:
            begun = key in _compiled
            self._programs[key] = future = _compiled.setdefault(key, Future())
        if not begun:
            try:
                lowered = self._function.lower(self._first, *arguments, **self._static, **choices)
                future.set_result(lowered.compile())
            except BaseException as error:
                with _lock:
                    del _compiled[key]
                future.set_exception(error)
        return future.result()


def _shapes(tree: Any) -> tuple[Any, ...]:
    """What arrays must have in common to be given to one program."""
    leaves, structure = jax.tree.flatten(tree)
    return structure, *((leaf.shape, leaf.dtype, _sharding(leaf)) for leaf in leaves)


def _sharding(leaf: Any) -> jax.sharding.Sharding | None:
    """``None`` for arrays of the host, which may go anywhere."""
    return getattr(leaf, "sharding", None)
