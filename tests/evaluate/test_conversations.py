"""Results as conversations for training."""

from ocijax.conversation import conversation_to_row, parse_conversation
from ocijax.data.weights import message_weights
from ocijax.evaluate.conversations import trajectories_to_conversations
from ocijax.refine.feedback import no_code_feedback
from ocijax.refine.loop import begin
from tests.refine.conftest import make_task


def result(*turns: str, attempts: list[tuple[str, str | None, bool]], base=True, plus=None):
    """A row of results; ``turns`` follow the instruction, attempts are (reply, code, passed)."""
    conversation = begin(make_task(1)).conversation
    for index, text in enumerate(turns):
        conversation = conversation.append("user" if index % 2 else "assistant", text)
    return {
        "task_id": "add/1",
        "sample": 2,
        "passed_base": base,
        "passed_plus": plus,
        "attempts": [
            {"reply": reply, "program": program, "passed": passed}
            for reply, program, passed in attempts
        ],
        "conversation": conversation_to_row(conversation),
    }


REPAIRED = result(
    "first", "it failed", "second", attempts=[("first", "a", False), ("second", "b", True)]
)


def test_a_trajectory_is_one_conversation_that_knows_which_answers_passed():
    [conversation] = trajectories_to_conversations([REPAIRED])
    assert [message.content for message in conversation.messages] == [
        "Write solve(x) that adds 1.",
        "first",
        "it failed",
        "second",
    ]
    assert conversation.id == "add/1#2"
    assert conversation.metadata == {"task_id": "add/1", "passed": [False, True]}


def test_answers_within_one_message_that_grows_are_not_told_again():
    row = result("second", attempts=[("first", "a", False), ("second", "b", True)])
    for attempt in row["attempts"]:
        attempt["afresh"] = False
    [conversation] = trajectories_to_conversations([row])
    assert [message.content for message in conversation.messages][1:] == ["second"]
    assert conversation.metadata["passed"] == [True]


def test_training_reads_it_and_can_leave_out_wrong_answers():
    [conversation] = trajectories_to_conversations([REPAIRED])
    read = parse_conversation(conversation_to_row(conversation), "")
    assert read == conversation
    assert message_weights(read, "passed") == [0, 0, 0, 1]


def test_an_answer_that_fails_a_scoring_test_did_not_pass():
    attempts = [("only", "a", True)]
    for scores in ({"base": False}, {"base": True, "plus": False}):
        [conversation] = trajectories_to_conversations(
            [result("only", attempts=attempts, **scores)]
        )
        assert conversation.metadata["passed"] == [False]


def test_the_score_belongs_to_the_last_answer_with_a_program():
    row = result(
        "first",
        no_code_feedback(),
        "sorry",
        attempts=[("first", "a", False), ("sorry", None, False)],
        base=True,
    )
    [conversation] = trajectories_to_conversations([row])
    assert conversation.metadata["passed"] == [True, False]


def test_each_resampled_answer_is_a_conversation():
    row = result("second", attempts=[("first", "a", False), ("second", "b", True)])
    one, other = trajectories_to_conversations([row])
    assert [message.content for message in one.messages[1:]] == ["first"]
    assert [message.content for message in other.messages[1:]] == ["second"]
    assert (one.metadata["passed"], other.metadata["passed"]) == ([False], [True])
    assert one.id != other.id


def test_a_conversation_ends_before_an_empty_answer():
    row = result("first", "failed", " ", attempts=[("first", "a", False), (" ", None, False)])
    [conversation] = trajectories_to_conversations([row])
    assert [message.content for message in conversation.messages[1:]] == ["first"]
    assert conversation.metadata["passed"] == [True]


def test_an_empty_answer_alone_is_no_conversation():
    assert not list(trajectories_to_conversations([result("", attempts=[("", None, False)])]))


def test_judged_samples_have_no_conversation():
    assert not list(trajectories_to_conversations([{"task_id": "a", "sample": 0}]))
