from hypothesis import given
from hypothesis import strategies as st

from ocijax.conversation import Conversation, Message
from ocijax.data.holdout import split_holdout


def asking(question: str, answer: str = "a") -> Conversation:
    return Conversation("c", (Message("user", question), Message("assistant", answer)))


MANY = [asking(f"question {number}") for number in range(2000)]


def test_about_the_fraction_is_held_out():
    train, held_out = split_holdout(MANY, 0.1)
    assert len(train) + len(held_out) == len(MANY)
    assert 150 < len(held_out) < 250


def test_nothing_is_held_out_at_zero():
    assert split_holdout(MANY, 0.0) == (MANY, [])


@given(st.lists(st.sampled_from(["p", "q", "r", "s"])), st.floats(0, 1), st.integers(0, 5))
def test_one_question_is_never_on_both_sides(questions, fraction, seed):
    conversations = [asking(question, str(number)) for number, question in enumerate(questions)]
    train, held_out = split_holdout(conversations, fraction, seed)
    sides = [{side.messages[0].content for side in part} for part in (train, held_out)]
    assert not sides[0] & sides[1]


def test_other_conversations_and_their_order_move_none():
    _, held_out = split_holdout(MANY, 0.1, seed=3)
    _, fewer = split_holdout(MANY[::-2], 0.1, seed=3)
    assert {id(one) for one in fewer} == {id(one) for one in held_out} & {id(o) for o in MANY[::-2]}


def test_the_seed_chooses_another_part():
    assert split_holdout(MANY, 0.1, seed=1) != split_holdout(MANY, 0.1, seed=2)
