"""What a model is told, from a TOML file: first turn, how it goes on, wording of feedback."""

import hashlib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from ocijax.conversation import Conversation, Message
from ocijax.errors import InputError
from ocijax.judge.task import Task

PRESETS = ("turns", "paper")
"""Those that come along, see the files beside this one."""


@dataclass(frozen=True)
class Wording:
    """How a run of a program is told; see ``turns.toml`` for what the texts may use.

    Attributes:
      label: stands before everything.
      longest: characters of a feedback without its label.
      keep: what is kept of texts that are too long, ``ends`` or ``head``.
      traceback: ``whole``, or ``frames``: from its first frame in the program on, without lines
        of the program, as if it had been a string given to ``exec``.
      wrong: for an output that is not the expected one.
      wrong_message: where the test has no message of its own.
      wrong_stdout: for a whole program that printed something else than it must.
      failed: for a call that gave no output.
      missing: where the program lacks the function; empty: the exception itself.
      no_code: where a reply has no program.
      timeout: trouble of one that took too long.
      memory: of one that used too much.
      output: of one that printed too much.
      killed: of one whose process was killed.
      unknown: of one that says nothing.
      nothing_printed: for a program without tests that printed nothing.
    """

    label: str
    longest: int
    keep: Literal["ends", "head"]
    traceback: Literal["whole", "frames"]
    wrong: str
    wrong_message: str
    wrong_stdout: str
    failed: str
    missing: str
    no_code: str
    timeout: str
    memory: str
    output: str
    killed: str
    unknown: str
    nothing_printed: str


@dataclass(frozen=True)
class Prompts:
    """All that a model is told.

    Attributes:
      name: of the preset or file.
      digest: SHA-256 of the file.
      first: the first user turn, by benchmark, or ``default``.
      form: how it goes on: ``turns``, or the text of one user message.
      wording: of feedback.
      adviser: what is asked for guidance, by protocol.
    """

    name: str
    digest: str
    first: Mapping[str, str]
    form: str
    wording: Wording
    adviser: Mapping[str, str]

    def first_turn(self, benchmark: str, instruction: str, prompt: str) -> str:
        """The first user turn of a task."""
        text = self.first.get(benchmark, self.first["default"])
        return text.format(
            instruction=instruction, prompt=prompt.strip("\n"), problem=_problem(prompt)
        )

    def begin(self, task: Task, benchmark: str = "") -> Conversation:
        """The conversation before the first answer."""
        text = self.first_turn(benchmark, task.instruction, task.prompt)
        return Conversation(task.task_id, (Message("user", text),))

    def go_on(self, conversation: Conversation, feedback: str) -> Conversation:
        """The conversation, which ends with an answer, as it goes on with feedback on that."""
        if self.form == "turns":
            return conversation.append("user", feedback)
        asked, reply = (message.content for message in conversation.messages)
        told = self.form.format(before=asked, reply=reply, feedback=feedback)
        return Conversation(conversation.id, (Message("user", told),))

    def ask_adviser(self, protocol: str, task: Task, program: str, feedback: str) -> Conversation:
        """The conversation in which guidance is asked for, see `ocijax.evaluate.protocols`."""
        asked = self.adviser[protocol].format(
            problem=task.instruction,
            program=program.rstrip("\n"),
            feedback=feedback,
            solution=task.metadata.get("solution", "").rstrip("\n"),
        )
        return Conversation(f"{task.task_id} {protocol}", (Message("user", asked),))


def load_prompts(name: str | Path) -> Prompts:
    """A preset by name, or a file.

    Raises:
      InputError: there is neither, or the file lacks a text or has one with unknown fields.
    """
    preset = name in PRESETS
    path = files("ocijax.prompts") / f"{name}.toml" if preset else Path(name)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(
            f"prompts {str(name)!r}: neither one of {', '.join(PRESETS)} nor a file that can be "
            f"read ({error.strerror})"
        ) from error
    try:
        parsed = tomllib.loads(content.decode())
        return _parse(Path(name).stem, hashlib.sha256(content).hexdigest(), parsed)
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"prompts {name}: {_reason(error)}") from error


def _parse(name: str, digest: str, parsed: Mapping[str, Any]) -> Prompts:
    first, form, feedback, adviser = (
        parsed["first"],
        parsed["next"]["form"],
        parsed["feedback"],
        parsed["adviser"],
    )
    if "default" not in first:
        raise ValueError("first has no default")
    known = [one.name for one in fields(Wording)]
    for key in feedback:
        if key not in known:
            raise ValueError(f"feedback.{key} is unknown; there are {', '.join(known)}")
    for key in known:
        if not isinstance(feedback[key], int if key == "longest" else str):
            raise ValueError(f"feedback.{key} is of the wrong type")
    if feedback["keep"] not in ("ends", "head"):
        raise ValueError("feedback.keep is neither ends nor head")
    if feedback["traceback"] not in ("whole", "frames"):
        raise ValueError("feedback.traceback is neither whole nor frames")
    blanks = {
        **dict.fromkeys((("first", key) for key in first), ("instruction", "prompt", "problem")),
        ("next", "form"): ("before", "reply", "feedback"),
        ("feedback", "wrong"): ("message", "call", "input", "expected", "actual"),
        ("feedback", "failed"): ("message", "call", "input", "expected", "trouble"),
        ("feedback", "missing"): ("entry_point",),
        ("feedback", "no_code"): ("entry_point", "language"),
        ("adviser", "human"): ("problem", "program", "feedback"),
        ("adviser", "human_oracle"): ("problem", "program", "feedback", "solution"),
    }
    for (section, key), allowed in blanks.items():
        text = parsed[section][key]
        try:
            text.format(**dict.fromkeys(allowed, ""))
        except (LookupError, ValueError, AttributeError) as error:
            filled = ", ".join(f"{{{name}}}" for name in allowed)
            raise ValueError(
                f"{section}.{key} must be a text with no blanks but {filled}"
            ) from error
    return Prompts(name, digest, first, form, Wording(**feedback), adviser)


def _reason(error: Exception) -> str:
    return f"has no {error.args[0]}" if isinstance(error, KeyError) else str(error)


def _problem(prompt: str) -> str:
    """A prompt that is all docstring, without its quotes."""
    text = prompt.strip()
    if text.startswith('"""') and text.endswith('"""'):
        text = text.removeprefix('"""').removesuffix('"""')
    return text.strip("\n")


@cache
def turns() -> Prompts:
    """Our own preset."""
    return load_prompts("turns")
