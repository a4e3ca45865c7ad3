import json
import re

import pytest

from ocijax.conversation import (
    Conversation,
    Message,
    read_conversations,
    scan_conversations,
    write_conversations,
)
from ocijax.errors import InputError

USER = {"role": "user", "content": "Sort a list."}
ASSISTANT = {"role": "assistant", "content": "sorted(values)"}
SYSTEM = {"role": "system", "content": "Be brief."}


@pytest.fixture
def write(tmp_path):
    def write_rows(*rows) -> str:
        path = tmp_path / "data.jsonl"
        lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
        path.write_text("\n".join(lines) + "\n")
        return str(path)

    return write_rows


def test_reads_the_rows_of_code_feedback(write):
    path = write({"id": 7, "messages": [USER, ASSISTANT]})
    messages = (Message("user", "Sort a list."), Message("assistant", "sorted(values)"))
    assert read_conversations(path) == [Conversation("7", messages)]


def test_reads_what_it_wrote(tmp_path):
    messages = (Message("system", "s"), Message("user", "ü\n\u2028"), Message("assistant", '"'))
    conversations = [
        Conversation("a", messages, "made", {"passed": [True], "nested": {"k": 1}}),
        Conversation("b", messages),
    ]
    path = tmp_path / "new" / "data.jsonl"
    assert write_conversations(path, conversations) == 2
    assert read_conversations(path) == conversations
    assert [file.name for file in path.parent.iterdir()] == ["data.jsonl"]


def test_a_row_without_an_id_is_called_by_its_place(write):
    path = write("", {"messages": [USER, ASSISTANT]})
    assert read_conversations(path)[0].id == "data.jsonl:2"


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "data.jsonl"
    path.write_text("old")

    def broken():
        yield Conversation("a", (Message("user", "u"),))
        raise RuntimeError

    with pytest.raises(RuntimeError):
        write_conversations(path, broken())
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"data\.jsonl: cannot write it"):
        write_conversations(tmp_path / "file" / "data.jsonl", [])


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ("{", "not JSON"),
        ("[1]", "not a JSON object"),
        ({"id": 1}, "it has no messages"),
        ({"messages": []}, "it has no messages"),
        ({"messages": "hello"}, "it has no messages"),
        ({"messages": ["hello"]}, "message 0 is not a JSON object"),
        ({"messages": [USER, {"role": "bot", "content": "x"}]}, "message 1 has the unknown role"),
        ({"messages": [USER, {"content": "x"}]}, "message 1 has the unknown role None"),
        ({"messages": [USER, {"role": ["a"], "content": "x"}]}, "unknown role ['a']"),
        ({"messages": [USER, {"role": "assistant"}]}, "message 1 (assistant) has no text"),
        ({"messages": [{"role": "user", "content": " \n"}]}, "message 0 (user) is empty"),
        ({"messages": [{"role": "user", "content": "\ud800"}]}, "half of a surrogate pair"),
        ({"messages": [ASSISTANT]}, "message 0 is an assistant turn before any user turn"),
        ({"messages": [SYSTEM, ASSISTANT]}, "message 1 is an assistant turn before any user"),
        ({"messages": [USER, SYSTEM]}, "message 1 is a system turn, which may only come first"),
        ({"messages": [USER, USER, ASSISTANT]}, "message 1 is a second user turn in a row"),
        ({"messages": [USER, ASSISTANT, ASSISTANT]}, "message 2 is a second assistant turn"),
        ({"messages": [SYSTEM, USER]}, "it has no assistant turn"),
        ({"id": [1], "messages": [USER, ASSISTANT]}, "its id is neither text nor"),
        ({"source": 1, "messages": [USER, ASSISTANT]}, "its source is not text"),
        ({"metadata": 1, "messages": [USER, ASSISTANT]}, "its metadata is not a JSON object"),
    ],
)
def test_a_malformed_row_is_named_by_file_and_line(write, row, problem):
    path = write({"messages": [USER, ASSISTANT]}, row)
    with pytest.raises(InputError, match=f"^{re.escape(path)}:2: .*{re.escape(problem)}"):
        read_conversations(path)


def test_bytes_that_are_not_utf8_are_named_by_file_and_line(tmp_path):
    path = tmp_path / "data.jsonl"
    path.write_bytes(b'{"messages": "\xff"}\n')
    with pytest.raises(InputError, match=r"data\.jsonl:1: not JSON"):
        read_conversations(path)


def test_all_malformed_rows_are_collected_and_the_others_read(write):
    good = {"messages": [USER, ASSISTANT]}
    conversations, problems = scan_conversations(write("{", good, {"messages": []}, good))
    assert [problem.split(": ")[0].rsplit(":")[-1] for problem in problems] == ["1", "3"]
    assert len(conversations) == 2


def test_many_malformed_rows_are_refused_in_one_line_with_their_number(write):
    path = write(*["{"] * 12)
    with pytest.raises(InputError) as refusal:
        read_conversations(path)
    message = str(refusal.value)
    assert "\n" not in message
    assert f"{path}:5: " in message
    assert message.endswith("and 7 more malformed rows")


def test_user_turns_in_a_row_are_merged_by_policy(write):
    result = {"role": "user", "content": "It failed."}
    path = write({"messages": [USER, ASSISTANT, USER, result, ASSISTANT]})
    messages = read_conversations(path, repeated_user="merge")[0].messages
    assert [message.role for message in messages] == ["user", "assistant"] * 2
    assert messages[2].content == "Sort a list.\n\nIt failed."


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(InputError, match="nowhere: cannot read it: No such file"):
        read_conversations(tmp_path / "nowhere")


def test_appending_leaves_the_conversation_as_it_was():
    asked = Conversation("a", (Message("user", "u"),), "made", {"k": 1})
    answered = asked.append("assistant", "v")
    assert asked.messages == (Message("user", "u"),)
    assert answered.messages == (Message("user", "u"), Message("assistant", "v"))
    assert (answered.source, answered.metadata) == ("made", {"k": 1})
