r"""Measures a model, or programs that were written elsewhere, on a benchmark.

    python -m eval.run --checkpoint=runs/first --benchmark=humaneval --protocol=execution \
        --workdir=runs/first-humaneval
    python -m eval.run --samples=samples.jsonl --benchmark=mbpp --workdir=runs/samples

Protocols: `single` answers once; `execution` shows a program's run on the public tests and lets the
model repair it; `resample`, the control, answers anew instead; `scrambled`, another control, shows
another task's feedback. Run again, the same command goes on where it was. WORKDIR/results.jsonl has
a row a task with its whole trajectory, WORKDIR/summary.json the rates with 95 % intervals.
"""

import asyncio

from absl import flags
from tqdm import tqdm

from ocijax.errors import InputError
from ocijax.evaluate.evaluation import evaluate, judge_samples
from ocijax.evaluate.protocols import PROTOCOLS
from ocijax.evaluate.summary import SummaryRow, table
from ocijax.judge.benchmark import Benchmark, load_benchmark
from ocijax.judge.samples import read_samples
from ocijax.program import run
from ocijax.sample.settings import Generator, SamplingSettings
from ocijax.sandbox.result import Limits
from ocijax.sandbox.sandbox import Sandbox


class ProgressBar:
    """Shows ``done`` of ``total``; call it with both."""

    def __init__(self, description: str, unit: str):
        self._bar = tqdm(desc=description, unit=unit, total=0, dynamic_ncols=True)

    def __call__(self, done: int, total: int) -> None:
        """Moves the bar."""
        self._bar.total = total
        self._bar.update(done - self._bar.n)

    def __enter__(self) -> "ProgressBar":
        return self

    def __exit__(self, *_) -> None:
        self._bar.close()


def selected_tasks(value: str) -> int | list[str] | None:
    """What --tasks says: the first so many, ids, or all.

    Raises:
      InputError: it is neither.
    """
    if not value:
        return None
    if value.isdecimal():
        if int(value) == 0:
            raise InputError("--tasks=0: give a number of tasks, or ids")
        return int(value)
    return [identifier.strip() for identifier in value.split(",")]


def load_generator(checkpoint: str, dtype: str, batch_size: int) -> Generator:
    """The sampler of a checkpoint; JAX is imported here and no earlier."""
    import jax

    from ocijax.model.decoder import ComputeConfig
    from ocijax.sample.sampler import Sampler
    from ocijax.train.checkpoint import load_model

    if not dtype:
        dtype = "float32" if jax.default_backend() == "cpu" else "bfloat16"
    model = load_model(checkpoint, dtype=dtype)
    return Sampler(*model, compute=ComputeConfig(dtype=dtype), max_batch=batch_size)


def _load(sandbox: Sandbox) -> Benchmark:
    values = flags.FLAGS
    with ProgressBar("reference outputs", "task") as observe:
        return asyncio.run(
            load_benchmark(values.benchmark, sandbox, selected_tasks(values.tasks), observe)
        )


def _measure(sandbox: Sandbox) -> list[SummaryRow]:
    values = flags.FLAGS
    settings = SamplingSettings(
        values.max_new_tokens, values.temperature, values.top_p, values.seed, tuple(values.stop)
    )
    generator = load_generator(values.checkpoint, values.dtype, values.batch_size)
    benchmark = _load(sandbox)
    with ProgressBar(f"{benchmark.name} {values.protocol}", "task") as observe:
        return evaluate(
            benchmark,
            values.protocol,
            generator,
            sandbox,
            settings,
            values.workdir,
            model=values.checkpoint,
            rounds=values.rounds,
            samples=values.samples_per_task,
            observe=observe,
        )


def _judge(sandbox: Sandbox) -> list[SummaryRow]:
    values = flags.FLAGS
    samples = read_samples(values.samples)
    benchmark = _load(sandbox)
    with ProgressBar(f"{benchmark.name} samples", "sample") as observe:
        return judge_samples(
            benchmark, samples, sandbox, values.workdir, source=values.samples, observe=observe
        )


def main() -> None:
    """Measures and prints the table."""
    values = flags.FLAGS
    if bool(values.checkpoint) == bool(values.samples):
        raise InputError("give either --checkpoint=DIR or --samples=FILE")
    sandbox = Sandbox(Limits(), isolation=values.isolation)
    print(table(_judge(sandbox) if values.samples else _measure(sandbox)))


if __name__ == "__main__":
    flags.DEFINE_string("checkpoint", "", "Checkpoint, or training workdir, of the model.")
    flags.DEFINE_string("samples", "", "Programs to judge instead, in EvalPlus's format (JSONL).")
    flags.DEFINE_string("benchmark", None, "humaneval, mbpp, or a file of tasks.", required=True)
    flags.DEFINE_string("workdir", None, "Folder of the run; made where absent.", required=True)
    flags.DEFINE_enum("protocol", "single", PROTOCOLS, "What the model sees.")
    flags.DEFINE_string("tasks", "", "The first N tasks, or ids, with commas; all by default.")
    flags.DEFINE_integer("rounds", 2, "Most answers for a task.", lower_bound=1)
    flags.DEFINE_integer("samples_per_task", 1, "Trajectories for each task.", lower_bound=1)
    flags.DEFINE_integer("max_new_tokens", 1024, "Most tokens of an answer.", lower_bound=1)
    flags.DEFINE_float("temperature", 0.0, "0 is greedy.", lower_bound=0.0)
    flags.DEFINE_float("top_p", 1.0, "Nucleus to draw from.", lower_bound=0.0, upper_bound=1.0)
    flags.DEFINE_integer("seed", 0, "Of the draws.")
    flags.DEFINE_multi_string("stop", [], "Text that ends an answer; may be repeated.")
    flags.DEFINE_integer("batch_size", 64, "Tasks answered side by side.", lower_bound=1)
    flags.DEFINE_enum("dtype", "", ["", "float32", "bfloat16"], "Of the model; by the device.")
    flags.DEFINE_enum(
        "isolation",
        "namespaces",
        ["namespaces", "limits"],
        "Of the sandbox: namespaces (no network, own processes and file system), or, on hosts that"
        " forbid these, limits alone.",
    )
    run(main)
