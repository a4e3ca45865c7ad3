from hypothesis import given
from hypothesis import strategies as st

from ocijax.data.truncation import kept_messages

THREE_TURNS = ["user", "assistant"] * 3
WITH_SYSTEM = ["system", *THREE_TURNS]


def test_a_conversation_that_fits_is_kept_whole():
    assert kept_messages(THREE_TURNS, [1] * 6, 6) == [0, 1, 2, 3, 4, 5]


def test_whole_turns_are_lost_from_the_left_after_the_first_user_turn():
    assert kept_messages(THREE_TURNS, [1] * 6, 5) == [0, 3, 4, 5]
    assert kept_messages(THREE_TURNS, [1] * 6, 3) == [0, 5]
    assert kept_messages(WITH_SYSTEM, [1] * 7, 6) == [0, 1, 4, 5, 6]
    assert kept_messages(WITH_SYSTEM, [1] * 7, 3) == [0, 1, 6]


def test_where_the_first_user_turn_and_the_final_answer_do_not_fit_nothing_is_kept():
    assert kept_messages(THREE_TURNS, [1] * 6, 1) is None
    assert kept_messages(WITH_SYSTEM, [1] * 7, 2) is None


@given(
    st.booleans(),
    st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), min_size=1),
    st.integers(0, 200),
)
def test_what_is_kept_fits_and_no_more_than_needed_is_lost(system, turns, limit):
    roles = ["system"] * system + ["user", "assistant"] * len(turns)
    sizes = [3] * system + [size for turn in turns for size in turn]
    kept = kept_messages(roles, sizes, limit)
    needed = list(range(system + 1))
    shorter = [
        needed + list(range(start, len(roles))) for start in range(system + 1, len(roles), 2)
    ]
    fitting = [choice for choice in shorter if sum(sizes[i] for i in choice) <= limit]
    assert kept == (fitting[0] if fitting else None)
