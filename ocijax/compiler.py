"""What the compiler is told on each platform, and where it keeps what it compiled.

Both must be set before JAX computes anything. An XLA that does not know a flag aborts the process,
and every release knows others, so each flag is first tried in a process of its own.
"""

import importlib.util
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import jax

from ocijax.errors import InputError

Platform = Literal["cpu", "gpu", "tpu"]


@dataclass(frozen=True)
class CompilerFlag:
    """One flag of XLA.

    Attributes:
      text: ``--name=value``.
      reason: what it is good for.
    """

    text: str
    reason: str

    @property
    def name(self) -> str:
        """What comes before the value."""
        return self.text.split("=")[0]


_COMBINED_BYTES = 200 << 20
"""About half a layer of a model of 7B: calls that large use the links well, and wait for little."""

FLAGS: dict[Platform, tuple[CompilerFlag, ...]] = {
    "cpu": (),
    "gpu": (
        CompilerFlag(
            "--xla_gpu_enable_latency_hiding_scheduler=true",
            "gathers the next layer's parameters while this one computes",
        ),
        CompilerFlag(
            "--xla_gpu_enable_triton_gemm=false",
            "leaves matrix products to cuBLAS, as fast and compiled in a third of the time",
        ),
        CompilerFlag(
            f"--xla_gpu_all_gather_combine_threshold_bytes={_COMBINED_BYTES}",
            "gathers several parameters in one call of NCCL",
        ),
        CompilerFlag(
            "--xla_gpu_enable_all_gather_combine_by_dim=false",
            "also those that are split in different dimensions",
        ),
        CompilerFlag(
            f"--xla_gpu_reduce_scatter_combine_threshold_bytes={_COMBINED_BYTES}",
            "scatters several gradients in one call of NCCL",
        ),
        CompilerFlag(
            "--xla_gpu_enable_reduce_scatter_combine_by_dim=false",
            "also those that are split in different dimensions",
        ),
        CompilerFlag(
            "--xla_gpu_enable_pipelined_all_gather=true",
            "begins a scanned layer's gather in the iteration before",
        ),
        CompilerFlag(
            "--xla_gpu_enable_pipelined_reduce_scatter=true",
            "ends a scanned layer's scatter of gradients in the iteration after",
        ),
    ),
    "tpu": (
        CompilerFlag(
            "--xla_tpu_enable_async_collective_fusion=true",
            "fuses collectives with the computation that hides them",
        ),
        CompilerFlag(
            "--xla_tpu_enable_async_collective_fusion_fuse_all_gather=true",
            "does so for the gathers of parameters, most of what FSDP sends",
        ),
        CompilerFlag(
            "--xla_tpu_overlap_compute_collective_tc=true",
            "lets the matrix units work while collectives run",
        ),
    ),
}
"""By platform; those of MaxText's and JAX's own recipes that concern sharded parameters."""

_TRIAL_SECONDS = 120

_VARIABLES: dict[Platform, str] = {
    "cpu": "XLA_FLAGS",
    "gpu": "XLA_FLAGS",
    "tpu": "LIBTPU_INIT_ARGS",
}
# Compiling for a TPU that is not there reads libtpu's flags and takes no chip; a CPU's compiler
# reads those of GPUs as well.
_TRIALS: dict[Platform, str] = {
    "cpu": "import jax; jax.jit(lambda: 1)()",
    "gpu": "import jax; jax.jit(lambda: 1)()",
    "tpu": (
        "from jax.experimental import topologies;"
        "topologies.get_topology_desc(platform='tpu', topology_name='v5e:2x2')"
    ),
}


def platform() -> Platform:
    """The platform that JAX will choose, found without starting it."""
    if asked := (jax.config.jax_platforms or "").split(",")[0]:
        return {"cpu": "cpu", "tpu": "tpu"}.get(asked, "gpu")
    if Path("/dev/nvidiactl").exists():
        return "gpu"
    chips = [*Path("/dev").glob("accel[0-9]*"), *Path("/dev/vfio").glob("[0-9]*")]
    return "tpu" if chips and importlib.util.find_spec("libtpu") else "cpu"


def stay_off_absent_devices() -> None:
    """Keeps JAX from looking for a TPU where none is: libtpu, there to plan for one, complains."""
    if platform() == "cpu":
        jax.config.update("jax_platforms", "cpu")


def set_flags(platform: Platform, flags: Sequence[CompilerFlag] | None = None) -> list[str]:
    """Gives the compiler the flags of a platform; those that the user set stay as they are.

    Args:
      platform: that of the devices.
      flags: those to give; of `FLAGS` by default.

    Returns:
      The flags that this release does not know, and that were left out.
    """
    variable = _VARIABLES[platform]
    own = os.environ.get(variable, "")
    named = {text.split("=")[0] for text in own.split()}
    wanted = FLAGS[platform] if flags is None else flags
    wanted = [flag.text for flag in wanted if flag.name not in named]
    known = wanted
    if not _accepted(platform, wanted):
        known = [text for text in wanted if _accepted(platform, [text])]
    if known:
        os.environ[variable] = " ".join([*known, own]).strip()
    return [text for text in wanted if text not in known]


def _accepted(platform: Platform, flags: Sequence[str]) -> bool:
    """Whether a process with these flags alone survives."""
    if not flags:
        return True
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", _VARIABLES[platform]: " ".join(flags)}
    environment["ALLOW_MULTIPLE_LIBTPU_LOAD"] = "1"
    command = [sys.executable, "-c", _TRIALS[platform]]
    try:
        trial = subprocess.run(
            command, env=environment, capture_output=True, timeout=_TRIAL_SECONDS
        )
    except subprocess.TimeoutExpired:
        return False
    return trial.returncode == 0


def known_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Those compiler options of a single program that this release knows.

    Args:
      options: values by name, as `jax.stages.Lowered.compile` takes them.

    Raises:
      jax.errors.JaxRuntimeError: a value is not one that its option takes.
    """
    program = jax.jit(lambda: 0).lower()
    known = {}
    for name, value in options.items():
        try:
            program.compile({name: value})
        except jax.errors.JaxRuntimeError as error:
            if "No such compile option" not in str(error):
                raise
        else:
            known[name] = value
    return known


def keep_compiled(folder: str | None) -> None:
    """Keeps compiled programs, so that a run that begins again need not compile.

    Args:
      folder: where; ``None``: as JAX_COMPILATION_CACHE_DIR says, or in the user's cache; empty:
        nowhere.

    Raises:
      InputError: it cannot be made.
    """
    if folder is None:
        cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        folder = jax.config.jax_compilation_cache_dir or str(Path(cache) / "ocijax" / "compiled")
    if not folder:
        jax.config.update("jax_enable_compilation_cache", False)
        return
    if "://" not in folder:
        try:
            Path(folder).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(
                f"--compilation_cache={folder}: cannot be made: {error.strerror}"
            ) from error
    jax.config.update("jax_compilation_cache_dir", folder)
