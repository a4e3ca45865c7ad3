"""Turns instruction data into conversations.

    python -m datasets_build.instruct --input=alpaca.json,exercises.jsonl --output=train.jsonl

Reads JSON arrays and JSON lines whose rows are pairs (instruction/input/output as in Alpaca,
instruction/response, prompt/completion, query/answer, problem/solution), ShareGPT conversations
(from/value), Exercism exercises (docs, stub, example) or conversations as we write them. Every row
that is none of these is reported by file and row.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from absl import flags
from tqdm import tqdm

from datasets_build.reporting import refuse_or_report
from ocijax.conversation import Conversation, parse_conversation, write_conversations
from ocijax.errors import InputError
from ocijax.program import run

PAIRS = (
    ("instruction", "output"),
    ("instruction", "response"),
    ("prompt", "completion"),
    ("query", "answer"),
    ("problem", "solution"),
)
"""Names that data sets give to a question and its answer."""

_SHAREGPT_ROLES = {"system": "system", "human": "user", "gpt": "assistant"}


def conversation_row(row: Any) -> dict[str, Any]:
    """A row of instruction data as a row of a conversation file.

    Raises:
      InputError: it has no known form.
    """
    if not isinstance(row, dict):
        raise InputError("not a JSON object")
    if "messages" in row:
        return row
    if "conversations" in row:
        return {**row, "messages": _sharegpt_messages(row["conversations"])}
    if {"docs", "stub", "example", "slug"} <= row.keys():
        return {"id": row["slug"], "messages": _exercism_messages(row)}
    for question, answer in PAIRS:
        if question in row and answer in row:
            asked = row[question]
            if isinstance(row.get("input"), str) and row["input"].strip():
                asked = f"{asked}\n\n{row['input']}"
            return {"messages": _exchange(asked, row[answer])}
    pairs = ", ".join("/".join(pair) for pair in PAIRS)
    raise InputError(f"no known form: none of {pairs}, conversations, messages")


def _exchange(question: Any, answer: Any) -> list[dict[str, Any]]:
    return [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]


def _sharegpt_messages(turns: Any) -> list[dict[str, Any]]:
    if not isinstance(turns, list) or not all(isinstance(turn, dict) for turn in turns):
        raise InputError("its conversations are not a list of JSON objects")
    return [
        {
            "role": _SHAREGPT_ROLES.get(turn.get("from"), turn.get("from")),
            "content": turn.get("value"),
        }
        for turn in turns
    ]


def _exercism_messages(row: dict[str, Any]) -> list[dict[str, Any]]:
    order = ("introduction.md", "instructions.md", "instructions.append.md")
    docs = [row["docs"][name].strip() for name in order if name in row["docs"]]
    stub = f"Begin with this:\n\n```python\n{row['stub'].strip()}\n```"
    return _exchange("\n\n".join([*docs, stub]), f"```python\n{row['example'].strip()}\n```")


def read_instructions(path: str | Path) -> tuple[list[Conversation], list[str]]:
    """The conversations of a file of instruction data, and every row that has no known form.

    Raises:
      InputError: the file cannot be read, or is one JSON value that is not a list.
    """
    path = Path(path)
    conversations, problems = [], []
    for place, read in _rows(path):
        try:
            row = conversation_row(read())
            conversation = parse_conversation(row, f"{path.stem}-{place}")
        except InputError as error:
            problems.append(f"{path}:{place}: {error}")
        except ValueError as error:
            problems.append(f"{path}:{place}: not JSON: {error}")
        else:
            source = conversation.source or path.stem
            conversations.append(
                Conversation(conversation.id, conversation.messages, source, conversation.metadata)
            )
    return conversations, problems


def _rows(path: Path) -> list[tuple[int, Callable[[], Any]]]:
    """Place and reader of each row: line numbers, or positions from 1 in a JSON array."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"{path}: cannot read it: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8: {error}") from error
    if text.lstrip().startswith("["):
        try:
            values = json.loads(text)
        except ValueError as error:
            raise InputError(f"{path}: not JSON: {error}") from error
        return [(number, lambda value=value: value) for number, value in enumerate(values, 1)]
    lines = text.split("\n")
    return [
        (number, lambda line=line: json.loads(line))
        for number, line in enumerate(lines, 1)
        if line.strip()
    ]


def main() -> None:
    """Reads every input, reports what is malformed and writes the output."""
    conversations: list[Conversation] = []
    problems: list[str] = []
    for path in tqdm(flags.FLAGS.input, desc="reading", unit="file"):
        found, wrong = read_instructions(path)
        conversations += found
        problems += wrong
    refuse_or_report(problems, skip=flags.FLAGS.skip_malformed)
    count = write_conversations(flags.FLAGS.output, conversations)
    print(f"{flags.FLAGS.output}: {count} conversations")


if __name__ == "__main__":
    flags.DEFINE_list("input", None, "Files of instruction data.", required=True)
    flags.DEFINE_string("output", None, "Conversation file (JSONL) to write.", required=True)
    flags.DEFINE_bool("skip_malformed", False, "Report malformed rows and go on without them.")
    run(main)
