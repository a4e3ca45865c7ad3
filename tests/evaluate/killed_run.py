"""A run that dies after so many steps: ``python -m tests.evaluate.killed_run WORKDIR PROTOCOL N``.

A step is the start, a new call of the generator, or a result kept.
"""

import json
import os
import random
import signal
import sys
from pathlib import Path

from ocijax.conversation import Conversation
from ocijax.evaluate import evaluation
from ocijax.judge.benchmark import Benchmark
from ocijax.sample.settings import SamplingSettings
from ocijax.sandbox.sandbox import Sandbox
from tests.refine.conftest import Answers, answer, make_task, number_of

TASKS = 12
ROUNDS = 3
BENCHMARK = Benchmark("adding", None, "1", [make_task(number) for number in range(TASKS)])
SETTINGS = SamplingSettings(temperature=0.7, seed=3)


def chancy_answers() -> Answers:
    """Right in one of three; drawn, as a sampler draws, by seed and place in the call."""

    def reply(conversation: Conversation) -> str:
        conversations, settings = answers.calls[-1]
        place = next(i for i, one in enumerate(conversations) if one is conversation)
        chance = random.Random(f"{settings.seed}/{place}")
        return answer(number_of(conversation) + chance.randrange(3))

    answers = Answers(reply)
    return answers


class Fuse:
    """Kills the process at the last of so many steps."""

    def __init__(self, steps: int):
        self._left = steps

    def burn(self) -> None:
        self._left -= 1
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


class Killing:
    """A generator that burns a fuse before it answers."""

    def __init__(self, answers: Answers, fuse: Fuse):
        self._answers = answers
        self._fuse = fuse

    def generate(self, conversations, settings):
        self._fuse.burn()
        return self._answers.generate(conversations, settings)

    def forget(self, conversation):
        self._answers.forget(conversation)


def main(workdir: Path, protocol: str, steps: int) -> None:
    fuse = Fuse(steps)
    check = evaluation.check
    results = workdir / "results.jsonl"
    lines = results.read_text().split("\n")[:-1] if results.exists() else []
    finished = {json.loads(line)["task_id"] for line in lines}

    async def checked(sandbox, task, *rest):
        assert task.task_id not in finished, f"{task.task_id} is judged twice"
        return await check(sandbox, task, *rest)

    evaluation.check = checked
    evaluation.evaluate(
        BENCHMARK,
        protocol,
        Killing(chancy_answers(), fuse),
        Sandbox(),
        SETTINGS,
        workdir,
        rounds=ROUNDS,
        observe=lambda done, total: fuse.burn(),
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
