"""What a report of 10,000 tasks costs to make and to open in a browser.

    python -m benchmarks.report --tasks=10000

makes the runs of two protocols over so many tasks, from no model: programs, errors and repairs are
drawn. It reports on them, opens the page in headless Chromium, lets it show a trajectory with its
diff, and prints sizes and times. Exits with 1 where the page does not show what it should.
"""

import random
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from absl import flags

from benchmarks.chromium import Browser
from ocijax.evaluate.store import write_json
from ocijax.json_lines import write_rows
from ocijax.judge.task import TestCase
from ocijax.program import run
from ocijax.refine.feedback import failure_feedback, load_feedback, no_code_feedback
from ocijax.report.files import write_report
from ocijax.report.runs import find_runs
from ocijax.sandbox.result import Outcome

READY = "document.documentElement.dataset.ready == 'yes'"
"""Holds in the page when it lists its trajectories."""

_SEARCH = """(() => {
  const began = performance.now(), sought = document.getElementById("of-task");
  sought.value = "99";
  sought.dispatchEvent(new Event("input", {bubbles: true}));
  return performance.now() - began;
})()"""

_WORDS = (
    *("total", "index", "value", "result", "left", "right", "count", "items", "lowest", "highest"),
    *("digits", "text", "letter", "previous", "current", "window", "start", "end", "amount"),
    *("groups", "pairs", "seen", "order", "depth", "limit", "step"),
)
_ENDS = (
    (0.45, Outcome("ok", 7, "")),
    (0.12, Outcome("error", None, "IndexError: list index out of range")),
    (0.1, Outcome("error", None, "TypeError: unsupported operand type(s) for +: 'int' and 'str'")),
    (0.1, Outcome("error", None, "NameError: name 'totl' is not defined")),
    (0.1, Outcome("error", None, '  File "<program>", line 3\nSyntaxError: invalid syntax')),
    (0.08, Outcome("timeout", None, "")),
    (0.05, Outcome("memory", None, "")),
)


def make_run(folder: Path, protocol: str, tasks: int, seed: int = 0) -> None:
    """Writes a run's folder as `eval.run` would, of ``tasks`` made-up tasks in two rounds."""
    folder.mkdir(parents=True)
    settings = {
        "benchmark": "made-up",
        "version": "0",
        "tasks": tasks,
        "protocol": protocol,
        "model": "nobody",
        "rounds": 1 if protocol == "single" else 2,
        "samples": 1,
    }
    write_json(folder / "settings.json", settings)
    chance = random.Random(f"{protocol} {seed}")
    rows = (_row(number, settings["rounds"], chance) for number in range(tasks))
    write_rows(folder / "results.jsonl", rows)
    answers = ({"began": 0.3 * place, "ended": 0.3 * place + 2} for place in range(tasks))
    write_rows(folder / "answers.jsonl", answers)
    write_json(folder / "summary.json", [])


def _row(number: int, rounds: int, chance: random.Random) -> dict[str, Any]:
    name = f"{chance.choice(_WORDS)}_{chance.choice(_WORDS)}"
    words = " ".join(chance.choices(_WORDS, k=80))
    messages = [{"role": "user", "content": f"Write {name}(value). {words}."}]
    attempts: list[dict[str, Any]] = []
    program = _program(name, chance)
    for place in range(rounds):
        if place:
            messages.append({"role": "user", "content": attempts[-1]["feedback"]})
            program = _repaired(program, chance)
        attempts.append(_attempt(name, program, chance.random() < 0.55, chance))
        messages.append({"role": "assistant", "content": attempts[-1]["reply"]})
        if attempts[-1]["passed"]:
            break
    passed = attempts[-1]["passed"] and chance.random() < 0.9
    return {
        "task_id": f"made-up/{number}",
        "sample": 0,
        "passed_base": passed,
        "passed_plus": passed and chance.random() < 0.9,
        "verdict": {"base": "pass" if passed else "fail", "plus": "fail"},
        "program": attempts[-1]["program"] or "",
        "rounds": len(attempts),
        "generated_tokens": sum(one["generated_tokens"] for one in attempts),
        "public_tests": 1,
        "attempts": attempts,
        "conversation": {"id": f"made-up/{number}", "messages": messages},
    }


def _program(name: str, chance: random.Random) -> str:
    return "".join(line + "\n" for line in [f"def {name}(value):", *_lines(chance, 25)])


def _lines(chance: random.Random, count: int) -> Iterator[str]:
    for _ in range(count):
        one, other, third = chance.choices(_WORDS, k=3)
        yield f"    {one} = {other}[{chance.randrange(1000)}] + {third}  # {chance.random():.6f}"


def _repaired(program: str, chance: random.Random) -> str:
    lines = program.splitlines()
    for line in _lines(chance, 3):
        lines[chance.randrange(1, len(lines))] = line
    return "".join(line + "\n" for line in lines)


def _attempt(name: str, program: str, passed: bool, chance: random.Random) -> dict[str, Any]:
    found = None if not passed and chance.random() < 0.05 else program
    [(_, end)] = chance.choices(_ENDS, [weight for weight, _ in _ENDS])
    if passed:
        feedback = ""
    elif found is None:
        feedback = no_code_feedback()
    elif "SyntaxError" in end.error:
        feedback = load_feedback(end)
    else:
        feedback = failure_feedback(name, TestCase((chance.randrange(10**6),), 3), end)
    why = " ".join(chance.choices(_WORDS, k=30))
    return {
        "reply": f"{why}.\n" if found is None else f"{why}:\n```python\n{program}```\n",
        "program": found,
        "passed": passed,
        "feedback": feedback,
        "generated_tokens": chance.randrange(150, 400),
        "finish_reason": "stop",
    }


def main() -> int:
    """Makes, opens and measures; the exit status."""
    tasks = flags.FLAGS.tasks
    with tempfile.TemporaryDirectory() as place:
        for protocol in ("single", "execution"):
            make_run(Path(place) / "runs" / protocol, protocol, tasks)
        began = time.monotonic()
        runs = find_runs([Path(place) / "runs"])
        read = time.monotonic()
        [*_, page] = write_report(runs, Path(place) / "report")
        written = time.monotonic()
        rows = sum((one.stat().st_size for one in Path(place).rglob("results.jsonl")), 0)
        print(f"results        {rows / 1e6:8.1f} MB, {2 * tasks:,} trajectories")
        print(f"read           {read - began:8.2f} s")
        print(f"written        {written - read:8.2f} s")
        print(f"report.html    {page.stat().st_size / 1e6:8.1f} MB")
        with Browser() as browser:
            print(f"opened         {browser.open(page.as_uri(), READY):8.2f} s")
            began = time.monotonic()
            repaired = next(row for row in runs[0].rows if row["rounds"] > 1 and row["program"])
            browser.evaluate(f"location.hash = 'run=execution&task={repaired['task_id']}'")
            browser.wait("document.querySelector('#trajectory h3') != null")
            print(f"trajectory     {time.monotonic() - began:8.2f} s")
            milliseconds = browser.evaluate(_SEARCH)
            print(f"search         {milliseconds / 1000:8.3f} s")
            plots = browser.evaluate("document.querySelectorAll('figure svg').length")
            turns = browser.evaluate("document.querySelectorAll('#trajectory .answer').length")
            print(f"plots, turns   {plots}, {turns}")
            for problem in browser.problems:
                print(problem, file=sys.stderr)
            return int(not plots or turns != 2 or bool(browser.problems))


if __name__ == "__main__":
    flags.DEFINE_integer("tasks", 10_000, "Tasks of each of the two runs.", lower_bound=1)
    run(main)
