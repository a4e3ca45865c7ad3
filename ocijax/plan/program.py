"""What a program takes of each device and moves between them, as its compiler says."""

import re
from dataclasses import dataclass

import jax

from ocijax.plan.collectives import Collective, read_collectives

_UNITS = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


@dataclass(frozen=True)
class Memory:
    """What a device holds while it runs a program, in bytes.

    Attributes:
      arguments: what the program is given.
      outputs: what it gives, but for what it writes over its arguments.
      temporaries: what lives inside it only: activations, gradients, gathered parameters.
      code: the program itself.
      host: temporaries in the host's memory, which do not count here.
      reported_peak: the compiler's own ``peak_memory_in_bytes``, to compare with what others tell
        of it; it leaves arguments out on some devices, and is less than is taken on a TPU.
    """

    arguments: int
    outputs: int = 0
    temporaries: int = 0
    code: int = 0
    host: int = 0
    reported_peak: int = 0

    @property
    def peak(self) -> int:
        """All that it holds at once: its temporaries are one block, taken when it starts."""
        return self.arguments + self.outputs + self.temporaries + self.code


@dataclass(frozen=True)
class CompiledProgram:
    """What compiling told.

    Attributes:
      memory: of each device.
      collectives: of one run; empty where the compiler refused the program for want of memory.
    """

    memory: Memory
    collectives: tuple[Collective, ...]


def compile_program(lowered: jax.stages.Lowered, arguments: int) -> CompiledProgram:
    """Compiles a program, also one that asks for more memory than there is.

    Args:
      lowered: of `jax.jit`.
      arguments: bytes of its arguments on one device, for where the compiler tells only of the
        temporaries that it refused.
    """
    try:
        compiled = lowered.compile()
    except jax.errors.JaxRuntimeError as error:
        # TPU: "... required for HLO temporaries (27.50G) exceeds available HBM (15.75G)."
        refused = re.search(r"HLO temporaries \(([\d.]+)([KMGT])\)", str(error))
        if not refused:
            raise
        temporaries = int(float(refused[1]) * _UNITS[refused[2]])
        return CompiledProgram(Memory(arguments, temporaries=temporaries), ())
    sizes = compiled.memory_analysis()
    memory = Memory(
        arguments=sizes.argument_size_in_bytes,
        outputs=sizes.output_size_in_bytes - sizes.alias_size_in_bytes,
        temporaries=sizes.temp_size_in_bytes,
        code=sizes.generated_code_size_in_bytes,
        host=sizes.host_temp_size_in_bytes,
        reported_peak=sizes.peak_memory_in_bytes,
    )
    return CompiledProgram(memory, read_collectives(compiled.as_text()))
