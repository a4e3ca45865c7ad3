"""EvalPlus 0.3.1 as it judges a samples file, without the clients of models that it imports.

    python -m benchmarks.evalplus_peer --benchmark=mbpp --samples=samples.jsonl

Its judging half needs numpy, psutil, termcolor, tqdm, appdirs, wget, tempdir, fire and tree-sitter;
what else it imports is for generating, and stands here as an empty module where it is not
installed. It executes the samples by itself, in forks: give it none that you have not made.
Leaves ``samples_eval_results.json`` beside the file, as EvalPlus does; one that is there already is
not believed.
"""

import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType

from absl import flags

from ocijax.errors import InputError
from ocijax.program import run


def import_evalplus() -> None:
    """Makes EvalPlus's judging half importable where its other half has not what it needs.

    Raises:
      InputError: EvalPlus is not installed.
    """
    if importlib.util.find_spec("evalplus") is None:
        raise InputError("EvalPlus is not installed: pip install --no-deps evalplus==0.3.1")
    absent = {
        "datasets": {"load_dataset": None},
        "evalplus.codegen": {"run_codegen": None},
    }
    for name, content in absent.items():
        if name.startswith("evalplus.") or importlib.util.find_spec(name) is None:
            module = ModuleType(name)
            vars(module).update(content)
            sys.modules.setdefault(name, module)


def results_file(samples: Path) -> Path:
    """Where EvalPlus writes its verdicts."""
    return Path(str(samples).replace(".jsonl", "_eval_results.json"))


def main() -> None:
    """Judges."""
    values = flags.FLAGS
    import_evalplus()
    from evalplus.config import DEFAULT_GT_TIME_LIMIT_FACTOR, DEFAULT_MIN_TIME_LIMIT
    from evalplus.evaluate import evaluate

    results_file(Path(values.samples)).unlink(missing_ok=True)
    evaluate(
        values.benchmark,
        values.samples,
        parallel=values.parallel,
        min_time_limit=values.patience * DEFAULT_MIN_TIME_LIMIT,
        gt_time_limit_factor=values.patience * DEFAULT_GT_TIME_LIMIT_FACTOR,
    )


if __name__ == "__main__":
    flags.DEFINE_enum("benchmark", None, ["humaneval", "mbpp"], "Whose programs.", required=True)
    flags.DEFINE_string("samples", None, "Programs, in EvalPlus's format.", required=True)
    flags.DEFINE_float("patience", 1.0, "Times EvalPlus's time limits of a test.", 1.0)
    flags.DEFINE_integer("parallel", len(os.sched_getaffinity(0)), "Samples judged at once.", 1)
    run(main)
