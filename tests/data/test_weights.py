import pytest

from ocijax.conversation import Conversation, Message
from ocijax.data.weights import message_weights
from ocijax.errors import InputError


def conversation(**metadata) -> Conversation:
    roles = ("system", "user", "assistant", "user", "assistant")
    return Conversation("c", tuple(Message(role, role) for role in roles), metadata=metadata)


def test_all_assistant_turns_count_as_in_the_paper():
    assert message_weights(conversation(), "all") == [0, 0, 1, 0, 1]


def test_only_the_last_turn_counts():
    assert message_weights(conversation(), "last") == [0, 0, 0, 0, 1]


def test_only_turns_whose_code_passed_count():
    assert message_weights(conversation(passed=[False, True]), "passed") == [0, 0, 0, 0, 1]
    assert message_weights(conversation(passed=[True, None]), "passed") == [0, 0, 1, 0, 0]


def test_turns_count_by_their_own_weights():
    assert message_weights(conversation(loss_weights=[0.25, 2]), "custom") == [0, 0, 0.25, 0, 2]


@pytest.mark.parametrize(
    ("policy", "metadata", "problem"),
    [
        ("passed", {}, "'c': metadata 'passed' must list one value for each of its 2 assistant"),
        ("passed", {"passed": [True]}, "must list one value for each of its 2 assistant turns"),
        ("custom", {"loss_weights": 1}, "metadata 'loss_weights' must list"),
        ("custom", {"loss_weights": [1, -1]}, "has -1, which is not a finite number"),
        ("custom", {"loss_weights": [1, "1"]}, "has '1', which is not a finite number"),
        ("custom", {"loss_weights": [1, float("nan")]}, "has nan, which is not a finite number"),
        ("custom", {"loss_weights": [1, True]}, "has True, which is not a finite number"),
        ("best", {}, "'best' is unknown; there are all, last, passed, custom"),
    ],
)
def test_metadata_that_a_policy_cannot_use_is_refused(policy, metadata, problem):
    with pytest.raises(InputError, match=problem):
        message_weights(conversation(**metadata), policy)
