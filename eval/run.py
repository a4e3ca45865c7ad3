"""Measures a model, or programs that were written elsewhere, on a benchmark.

    python -m eval.run --checkpoint=runs/first --benchmark=humaneval --protocol=execution \
        --workdir=runs/first-humaneval
    python -m eval.run --samples=samples.jsonl --benchmark=mbpp --workdir=runs/samples

Protocols: `single` answers once; `execution` shows a program's run on the public tests and lets the
model repair it; `resample`, the control, answers anew instead; `scrambled`, another control, shows
another task's feedback. Benchmarks are HumanEval+ and MBPP+ (HUMANEVAL_OVERRIDE_PATH and
MBPP_OVERRIDE_PATH name EvalPlus's files, or else the eval extra downloads them) or a file of tasks,
see ocijax/judge/task.py. Run again, the same command goes on where it was. WORKDIR/results.jsonl
has a row a task with its whole trajectory, WORKDIR/summary.json the rates with 95 % intervals.
"""

import asyncio
import sys
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path

from absl import flags
from tqdm import tqdm

from ocijax.conversation import Conversation
from ocijax.errors import InputError
from ocijax.evaluate.evaluation import evaluate, judge_samples
from ocijax.evaluate.protocols import PROTOCOLS, check_protocol
from ocijax.evaluate.summary import SummaryRow, table
from ocijax.judge.benchmark import Benchmark, load_benchmark
from ocijax.judge.samples import read_samples
from ocijax.program import run
from ocijax.sample.settings import Completion, SamplingSettings
from ocijax.sandbox.result import Limits
from ocijax.sandbox.sandbox import LEVELS, Sandbox, describe_levels

# One process runs all tests of a task; each has a limit of its own.
_CPU_SECONDS = 600.0


class CheckpointGenerator:
    """The model of a checkpoint, loaded when it is first asked; see `Generator`.

    Args:
      folder: of one step, or a Hugging Face folder.
      dtype: of the model; by default float32 on a CPU and bfloat16 elsewhere.
      batch_size: most conversations answered at once.
      tensor: devices that share each matrix; the others share the conversations.
      draft_tokens: tokens that are looked up for each forward, see `ocijax.sample.lookup`.
      template: name of the chat template, where it is not to be the checkpoint's own.
      observe: told how many more answers there are.
    """

    def __init__(
        self,
        folder: Path,
        dtype: str = "",
        batch_size: int = 64,
        tensor: int = 1,
        draft_tokens: int = 0,
        template: str = "",
        observe: Callable[[int], None] = lambda finished: None,
    ):
        self._folder = folder
        self._dtype = dtype
        self._batch_size = batch_size
        self._tensor = tensor
        self._draft_tokens = draft_tokens
        self._template = template
        self._observe = observe
        self.shortened = 0

    @cached_property
    def _generator(self):
        # Neither judging samples nor going on with a run that is done needs JAX.
        import jax

        from ocijax.model.decoder import ComputeConfig
        from ocijax.sample.context import ContextGenerator
        from ocijax.sample.sampler import Sampler
        from ocijax.sharding import MeshConfig, make_mesh
        from ocijax.train.checkpoint import load_model

        dtype = self._dtype or ("float32" if jax.default_backend() == "cpu" else "bfloat16")
        mesh = make_mesh(MeshConfig(tensor=self._tensor))
        model = load_model(self._folder, mesh, dtype, self._template)
        sampler = Sampler(
            *model,
            compute=ComputeConfig(dtype=dtype),
            mesh=mesh,
            slots=self._batch_size,
            draft_tokens=self._draft_tokens,
            observe=self._observe,
        )
        context = model.config.max_position_embeddings
        return ContextGenerator(sampler, model.template, model.tokenizer, context)

    def generate(
        self, conversations: Sequence[Conversation], settings: SamplingSettings
    ) -> list[Completion]:
        """One completion for each conversation, in order; ``shortened`` counts those cut."""
        completions = self._generator.generate(conversations, settings)
        self.shortened = self._generator.shortened
        return completions


class ProgressBar:
    """Shows ``done`` of ``total``, from the first call with both; a context manager."""

    def __init__(self, description: str):
        self._description = description
        self._bar: tqdm | None = None
        self._answers = 0

    def __call__(self, done: int, total: int) -> None:
        """Moves the bar."""
        if self._bar is None:
            self._bar = tqdm(
                desc=self._description, initial=done, total=total, unit=" tasks", dynamic_ncols=True
            )
        self._bar.update(done - self._bar.n)

    def answered(self, count: int) -> None:
        """Shows that there are so many answers more."""
        self._answers += count
        if self._bar is not None:
            self._bar.set_postfix_str(f"{self._answers} answers")

    def __enter__(self) -> "ProgressBar":
        return self

    def __exit__(self, *_) -> None:
        if self._bar is not None:
            self._bar.close()


def selected_tasks(value: str) -> int | list[str] | None:
    """What --tasks says: the first so many, ids, or all.

    Raises:
      InputError: it is a number less than 1.
    """
    if not value:
        return None
    if not value.lstrip("-").isdecimal():
        return [identifier.strip() for identifier in value.split(",") if identifier.strip()]
    if int(value) < 1:
        raise InputError(f"--tasks={value}: give a number of at least 1, or ids")
    return int(value)


def check_flags(values: flags.FlagValues) -> None:
    """Refuses flags that contradict each other, before anything is loaded.

    Raises:
      InputError: names the flag.
    """
    if bool(values.checkpoint) == bool(values.samples):
        raise InputError("give either --checkpoint=DIR or --samples=FILE")
    if values.samples and values.protocol != "single":
        raise InputError(
            f"--protocol={values.protocol}: a samples file holds finished answers; only a "
            "--checkpoint can repair them"
        )
    check_protocol(values.protocol, values.rounds, values.temperature)
    selected_tasks(values.tasks)


def _load(sandbox: Sandbox) -> Benchmark:
    values = flags.FLAGS
    wanted = selected_tasks(values.tasks)
    with ProgressBar("reference outputs") as observe:
        return asyncio.run(load_benchmark(values.benchmark, sandbox, wanted, observe))


def _measure(sandbox: Sandbox) -> list[SummaryRow]:
    from ocijax.train.checkpoint import checkpoint_folder

    values = flags.FLAGS
    folder = checkpoint_folder(values.checkpoint)
    settings = SamplingSettings(
        values.max_new_tokens,
        values.temperature,
        values.top_p,
        values.seed,
        tuple(values.stop),
        values.top_k,
    )
    benchmark = _load(sandbox)
    with ProgressBar(f"{benchmark.name} {values.protocol}") as bar:
        generator = CheckpointGenerator(
            folder,
            values.dtype,
            values.batch_size,
            values.tensor,
            values.draft_tokens,
            values.template,
            bar.answered,
        )
        summary = evaluate(
            benchmark,
            values.protocol,
            generator,
            sandbox,
            settings,
            values.workdir,
            model=f"{folder} {values.template}".rstrip(),
            rounds=values.rounds,
            samples=values.samples_per_task,
            observe=bar,
        )
    if generator.shortened:
        print(
            f"{generator.shortened} answers were given without the oldest turns, which the model's "
            "context could not hold",
            file=sys.stderr,
        )
    return summary


def _judge(sandbox: Sandbox) -> list[SummaryRow]:
    values = flags.FLAGS
    samples = read_samples(values.samples)
    benchmark = _load(sandbox)
    with ProgressBar(f"{benchmark.name} samples") as bar:
        return judge_samples(
            benchmark, samples, sandbox, values.workdir, source=values.samples, observe=bar
        )


def main() -> None:
    """Measures and prints the table."""
    values = flags.FLAGS
    check_flags(values)
    limits = Limits(cpu_seconds=_CPU_SECONDS)
    sandbox = Sandbox(limits, values.isolation, values.packages)
    print(table(_judge(sandbox) if values.samples else _measure(sandbox)))


if __name__ == "__main__":
    flags.DEFINE_string(
        "checkpoint", "", "Checkpoint, training workdir or Hugging Face folder of the model."
    )
    flags.DEFINE_string("template", "", "Chat template; by default the checkpoint's own.")
    flags.DEFINE_string("samples", "", "Programs to judge instead, in EvalPlus's format (JSONL).")
    flags.DEFINE_string("benchmark", None, "humaneval, mbpp, or a file of tasks.", required=True)
    flags.DEFINE_string("workdir", None, "Folder of the run; made where absent.", required=True)
    flags.DEFINE_enum("protocol", "single", list(PROTOCOLS), "What the model sees.")
    flags.DEFINE_string("tasks", "", "The first N tasks, or ids, with commas; all by default.")
    flags.DEFINE_integer("rounds", 2, "Most answers for a task.", lower_bound=1)
    flags.DEFINE_integer("samples_per_task", 1, "Trajectories for each task.", lower_bound=1)
    flags.DEFINE_integer("max_new_tokens", 1024, "Most tokens of an answer.", lower_bound=1)
    flags.DEFINE_float("temperature", 0.0, "0 is greedy.", lower_bound=0.0)
    flags.DEFINE_float("top_p", 1.0, "Nucleus to draw from.", lower_bound=0.0, upper_bound=1.0)
    flags.DEFINE_integer("top_k", 0, "Tokens to draw from, the most probable; 0: all.", 0)
    flags.DEFINE_integer("seed", 0, "Of the draws.")
    flags.DEFINE_multi_string("stop", [], "Text that ends an answer; may be repeated.")
    flags.DEFINE_integer("batch_size", 64, "Most answers written at once.", lower_bound=1)
    flags.DEFINE_integer("tensor", 1, "Devices that share each matrix.", lower_bound=1)
    flags.DEFINE_integer("draft_tokens", 0, "Tokens looked up in the conversation a forward.", 0)
    flags.DEFINE_enum("dtype", "", ["", "float32", "bfloat16"], "Of the model; by the device.")
    flags.DEFINE_list("packages", ["numpy"], "Installed packages that programs may import.")
    flags.DEFINE_enum("isolation", "namespaces", list(LEVELS), describe_levels())
    run(main)
