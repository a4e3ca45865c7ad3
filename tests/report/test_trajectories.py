"""Trajectories turn by turn."""

import subprocess
from dataclasses import replace

import pytest

from ocijax.conversation import Conversation, Message, conversation_to_row
from ocijax.prompts.prompts import load_prompts
from ocijax.report.trajectories import OUTCOMES, diff, outcome, turns
from tests.report.conftest import FEEDBACK, attempt, judged, row

PAPER = load_prompts("paper")


def in_one_message(words, told=None, prompts=PAPER, afresh=False):
    """A row whose user message grew by each answer and what was told of it; by default as it is."""
    result = row("t/1", words, True)
    conversation = Conversation("t/1", (Message("user", "Solve it."),))
    for place, one in enumerate(result["attempts"]):
        if place:
            feedback = result["attempts"][place - 1]["feedback"]
            conversation = prompts.go_on(conversation, told or feedback)
        conversation = conversation.append("assistant", one["reply"])
        one["afresh"] = afresh and place > 0
    result["conversation"] = conversation_to_row(conversation)
    return result


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        (row("a", "pass", True, True), 0),
        (row("a", "wrong pass", True, True), 1),
        (row("a", "wrong pass", True, False), 2),
        (row("a", "wrong wrong", False), 3),
        (judged("a", True), 0),
        (judged("a", False), 3),
    ],
)
def test_outcomes(result, expected):
    assert outcome(result) == OUTCOMES[expected]


def test_what_was_said_and_what_came_of_it():
    told = turns(row("a", "wrong pass", True))
    assert [one["role"] for one in told] == ["user", "answer", "user", "answer"]
    assert (told[1]["error"], told[3]["error"]) == ("wrong output", None)
    assert told[2]["text"] == FEEDBACK["wrong"]
    assert "unseen" not in told[1]
    assert "diff" not in told[1]
    assert told[3]["diff"][2:] == ["@@ -1,2 +1,2 @@", "-x = 1", "+x = 2", " y = 0"]


def test_what_the_last_run_gave_the_model_has_not_seen():
    assert turns(row("a", "wrong slow", False))[-1]["unseen"] == FEEDBACK["slow"]


def test_feedback_of_another_task_is_told_from_the_own():
    result = row("a", "wrong pass", True)
    result["conversation"]["messages"][2]["content"] = FEEDBACK["syntax"]
    told = turns(result)
    assert told[1]["unseen"] == FEEDBACK["wrong"]
    assert told[2]["text"] == FEEDBACK["syntax"]


def test_of_answers_that_were_asked_afresh_each_is_shown():
    result = row("a", "wrong slow pass", True)
    result["conversation"]["messages"][1:] = result["conversation"]["messages"][-1:]
    told = turns(result)
    assert [one["role"] for one in told] == ["user", "answer", "answer", "answer"]
    assert [one.get("unseen") for one in told[1:]] == [FEEDBACK["wrong"], FEEDBACK["slow"], None]
    assert told[3]["diff"]


def test_one_message_that_grew_is_shown_turn_by_turn():
    told = turns(in_one_message("wrong slow pass"))
    assert [one["role"] for one in told] == ["user", "answer", "user", "answer", "user", "answer"]
    assert told[0]["text"] == "Solve it."
    assert FEEDBACK["wrong"] in told[2]["text"]
    assert FEEDBACK["slow"] in told[4]["text"]
    assert not any("```" in told[place]["text"] for place in (0, 2, 4))
    assert not any("unseen" in one for one in told)


def test_what_was_told_instead_of_feedback_stands_in_the_message_that_grew():
    told = turns(in_one_message("wrong slow", told="Think of zero."))
    assert "Think of zero." in told[2]["text"]
    assert [told[1]["unseen"], told[3]["unseen"]] == [FEEDBACK["wrong"], FEEDBACK["slow"]]


def test_a_message_that_tells_no_answers_is_shown_whole():
    prompts = replace(PAPER, form="{before}\n{feedback}")
    told = turns(in_one_message("wrong slow", prompts=prompts))
    assert [one["role"] for one in told] == ["user", "answer", "user", "answer"]
    assert told[0]["text"] == f"Solve it.\n{FEEDBACK['wrong']}"
    assert told[2]["text"] == FEEDBACK["wrong"]
    assert [one.get("unseen") for one in told] == [None, None, None, FEEDBACK["slow"]]


def test_of_answers_that_are_said_to_be_asked_afresh_each_is_shown():
    result = in_one_message("wrong slow pass", afresh=True)
    result["conversation"]["messages"][0]["content"] = "Solve it."
    told = turns(result)
    assert [one["role"] for one in told] == ["user", "answer", "answer", "answer"]
    assert [one.get("unseen") for one in told[1:]] == [FEEDBACK["wrong"], FEEDBACK["slow"], None]


def test_a_program_is_compared_with_the_last_one_there_was():
    told = turns(row("a", "wrong none pass", True))
    assert "diff" not in told[3]
    assert told[5]["diff"][:2] == ["--- answer 1", "+++ answer 3"]


def test_the_same_program_again_has_an_empty_diff():
    result = row("a", "wrong wrong", False)
    result["attempts"] = [attempt("wrong"), attempt("wrong")]
    assert turns(result)[-1]["diff"] == []


def test_a_program_that_is_not_in_the_reply_as_it_is_is_shown():
    result = row("a", "pass", True)
    assert "program" not in turns(result)[1]
    result["attempts"][0]["program"] = "z = 3\n"
    assert turns(result)[1]["program"] == "z = 3\n"


def test_of_a_judged_sample_there_is_the_program():
    assert turns(judged("a", True)) == [{"role": "program", "text": "x = 1\n"}]


def test_patch_makes_one_program_of_the_other_by_the_diff(tmp_path):
    before = "def f(x):\n    y = 1\n    return x\n\n\n" + "z = 0\n" * 20
    after = before.replace("y = 1", "y = 2").replace("z = 0\n", "z = 0\nw = 1\n", 1)
    (tmp_path / "program").write_text(before)
    lines = "\n".join(diff(before, after, "program", "program")) + "\n"
    try:
        subprocess.run(["patch", "program"], cwd=tmp_path, input=lines, text=True, check=True)
    except FileNotFoundError:
        pytest.skip("patch is not installed")
    assert (tmp_path / "program").read_text() == after
