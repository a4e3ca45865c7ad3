"""Measures a model, or programs that were written elsewhere, on a benchmark.

    python -m eval.run --checkpoint=runs/first --benchmark=humaneval --protocol=execution \
        --workdir=runs/first-humaneval
    python -m eval.run --endpoint=http://127.0.0.1:8000/v1 --endpoint_model=first \
        --benchmark=humaneval --workdir=runs/endpoint
    python -m eval.run --samples=samples.jsonl --benchmark=mbpp --workdir=runs/samples

Protocols: `single` answers once; `execution` shows a program's run on the public tests and lets the
model repair it; `resample`, the control, answers anew instead, as often, `resample_tokens` until it
has had as many tokens as the run that --budget names; `scrambled`, another control, shows another
task's feedback. Three see the tests that score, as the paper's do: `execution_oracle` shows the
first that failed, `human` and `human_oracle` the guidance of a model at --adviser_endpoint, which
in the latter knows the solution. With --prompts=paper all are asked as the paper asks. Benchmarks
are HumanEval+ and MBPP+ (HUMANEVAL_OVERRIDE_PATH and MBPP_OVERRIDE_PATH name EvalPlus's files, or
else the eval extra downloads them) or a file of tasks, see ocijax/judge/task.py. An endpoint's key
is read from OPENAI_API_KEY. Run again, the same command goes on where it was; a workdir of another
checkpoint or other settings is refused. WORKDIR/results.jsonl has a row a task with its whole
trajectory, WORKDIR/summary.json the rates with 95 % intervals. With --hosts=4 --host=0 (and 1, 2,
3 on others), each with a workdir of its own, hosts share the tasks; `eval.report` puts them
together.
"""

import asyncio
import sys
from collections.abc import Callable
from dataclasses import fields

from absl import flags
from tqdm import tqdm

from eval.hosts import check_hosts, define_hosts
from eval.models import Model, checkpoint_model, endpoint_model
from ocijax.errors import InputError
from ocijax.evaluate.checkpoint import Loading
from ocijax.evaluate.evaluation import evaluate, judge_samples, read_budget
from ocijax.evaluate.protocols import PROTOCOLS, check_protocol
from ocijax.evaluate.summary import SummaryRow, table
from ocijax.judge.benchmark import Benchmark, load_benchmark
from ocijax.judge.checker import EVALUATORS
from ocijax.judge.samples import read_samples
from ocijax.program import run
from ocijax.prompts.prompts import PRESETS, load_prompts
from ocijax.refine.sanitize import SANITIZERS
from ocijax.sample.settings import SamplingSettings
from ocijax.sandbox.result import Limits
from ocijax.sandbox.sandbox import LEVELS, Sandbox, describe_levels

# One process runs all tests of a task; each has a limit of its own.
CPU_SECONDS = 600.0

_OF_A_CHECKPOINT = [one.name for one in fields(Loading)]
"""Flags that say nothing to an endpoint, nor of a samples file."""

_OF_ANSWERS = (
    *("prompts", "sanitizer", "rounds", "samples_per_task", "max_new_tokens", "temperature"),
    *("top_p", "top_k", "seed", "stop", "batch_size"),
)
"""Flags that say nothing of a samples file."""


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
    if sum(map(bool, (values.checkpoint, values.endpoint, values.samples))) != 1:
        raise InputError("give one of --checkpoint=DIR, --endpoint=URL and --samples=FILE")
    if bool(values.endpoint) != bool(values.endpoint_model):
        raise InputError("--endpoint and --endpoint_model belong together; give both")
    if bool(values.adviser_endpoint) != bool(values.adviser_model):
        raise InputError("--adviser_endpoint and --adviser_model belong together; give both")
    protocol = PROTOCOLS[values.protocol]
    for name, wanted in (
        ("adviser_endpoint", protocol.advised),
        ("budget", protocol.budgeted),
    ):
        if bool(values[name].value) != wanted:
            raise InputError(
                f"--{name}: --protocol={values.protocol} {'needs one' if wanted else 'has none'}"
            )
    if values.samples and values.protocol != "single":
        raise InputError(
            f"--protocol={values.protocol}: a samples file holds finished answers; only a "
            "--checkpoint or an --endpoint can repair them"
        )
    for name in _OF_ANSWERS if values.samples else ():
        if values[name].present:
            raise InputError(f"--{name}: a samples file holds programs, no answers; leave it out")
    if values["oracle_tests"].present and not protocol.oracle:
        raise InputError(f"--oracle_tests: --protocol={values.protocol} shows none; leave it out")
    for name in () if values.checkpoint else _OF_A_CHECKPOINT:
        if values[name].present:
            raise InputError(f"--{name}: is for a --checkpoint; leave it out")
    check_protocol(values.protocol, values.rounds, values.temperature)
    check_hosts(values)
    selected_tasks(values.tasks)


def _load(sandbox: Sandbox) -> Benchmark:
    values = flags.FLAGS
    wanted = selected_tasks(values.tasks)
    with ProgressBar("reference outputs") as observe:
        whole = asyncio.run(load_benchmark(values.benchmark, sandbox, wanted, observe))
    return whole.share(values.host, values.hosts)


def _measure(sandbox: Sandbox) -> list[SummaryRow]:
    values = flags.FLAGS
    settings = SamplingSettings(
        values.max_new_tokens,
        values.temperature,
        values.top_p,
        values.seed,
        tuple(values.stop),
        values.top_k,
    )
    bar = ProgressBar(f"{values.benchmark} {values.protocol}")
    model = _model(bar.answered)
    adviser = values.adviser_endpoint and endpoint_model(
        values.adviser_endpoint, values.adviser_model, values.batch_size
    )
    benchmark = _load(sandbox)
    with bar:
        summary = evaluate(
            benchmark,
            values.protocol,
            model.generator,
            sandbox,
            settings,
            values.workdir,
            model=model.name,
            model_digest=model.digest,
            loading=model.loading,
            rounds=values.rounds,
            samples=values.samples_per_task,
            prompts=load_prompts(values.prompts),
            oracle_tests=values.oracle_tests,
            evaluator=values.evaluator,
            sanitizer=values.sanitizer,
            adviser=adviser.generator if adviser else None,
            adviser_name=adviser.name if adviser else "",
            budget=read_budget(values.budget) if values.budget else None,
            at_once=values.batch_size,
            observe=bar,
        )
    if shortened := getattr(model.generator, "shortened", 0):
        print(
            f"{shortened} answers were given without the oldest turns, which the model's context "
            "could not hold",
            file=sys.stderr,
        )
    return summary


def _model(observe: Callable[[int], None]) -> Model:
    """What answers: a checkpoint, or else a model behind an endpoint."""
    values = flags.FLAGS
    if values.endpoint:
        return endpoint_model(values.endpoint, values.endpoint_model, values.batch_size)
    loading = Loading(**{name: values[name].value for name in _OF_A_CHECKPOINT})
    return checkpoint_model(values.checkpoint, loading, slots=values.batch_size, observe=observe)


def _judge(sandbox: Sandbox) -> list[SummaryRow]:
    values = flags.FLAGS
    samples = read_samples(values.samples)
    benchmark = _load(sandbox)
    with ProgressBar(f"{benchmark.name} samples") as bar:
        return judge_samples(
            *(benchmark, samples, sandbox, values.workdir),
            source=values.samples,
            evaluator=values.evaluator,
            observe=bar,
        )


def main() -> None:
    """Measures and prints the table."""
    values = flags.FLAGS
    check_flags(values)
    limits = Limits(cpu_seconds=CPU_SECONDS)
    sandbox = Sandbox(limits, values.isolation, values.packages)
    print(table(_judge(sandbox) if values.samples else _measure(sandbox)))


if __name__ == "__main__":
    flags.DEFINE_string(
        "checkpoint", "", "Checkpoint, training workdir or Hugging Face folder of the model."
    )
    flags.DEFINE_string("template", "", "Chat template; by default the checkpoint's own.")
    flags.DEFINE_string("endpoint", "", "OpenAI-compatible endpoint to ask instead, up to /v1.")
    flags.DEFINE_string("endpoint_model", "", "Which of its models; with --endpoint.")
    flags.DEFINE_string("samples", "", "Programs to judge instead, in EvalPlus's format (JSONL).")
    flags.DEFINE_string("benchmark", None, "humaneval, mbpp, or a file of tasks.", required=True)
    flags.DEFINE_string("workdir", None, "Folder of the run; made where absent.", required=True)
    flags.DEFINE_enum("protocol", "single", list(PROTOCOLS), "What the model sees.")
    flags.DEFINE_string("prompts", "turns", f"{' or '.join(PRESETS)}, or a file like theirs.")
    flags.DEFINE_enum(
        "oracle_tests", "plus", ["base", "plus"], "Suites that oracle protocols run and show."
    )
    flags.DEFINE_enum("evaluator", "ocijax", EVALUATORS, "Whose verdicts score, where they differ.")
    flags.DEFINE_enum("sanitizer", "fenced", list(SANITIZERS), "How code is found in answers.")
    flags.DEFINE_string("adviser_endpoint", "", "OpenAI-compatible endpoint that gives guidance.")
    flags.DEFINE_string("adviser_model", "", "Which of its models.")
    flags.DEFINE_string("budget", "", "Workdir of the run whose tokens each task may have.")
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
    flags.DEFINE_bool("int8_weights", False, "Hold the layers' weights in eight bits.")
    flags.DEFINE_bool("int8_cache", False, "Hold keys and values in eight bits.")
    flags.DEFINE_enum("dtype", "", ["", "float32", "bfloat16"], "Of the model; by the device.")
    define_hosts()
    flags.DEFINE_list("packages", ["numpy"], "Installed packages that programs may import.")
    flags.DEFINE_enum("isolation", "namespaces", list(LEVELS), describe_levels())
    run(main)
