"""The loop: answer, run, read what happened, answer again."""

import asyncio
import threading

import pytest

from ocijax.conversation import Conversation, Message
from ocijax.errors import InputError
from ocijax.refine.attempt import Attempt
from ocijax.refine.feedback import no_code_feedback
from ocijax.refine.loop import AskAgain, Trajectory, begin, refine
from ocijax.sample.settings import Completion, SamplingSettings
from tests.refine.conftest import Answers, answer, make_task, number_of, turn

SETTINGS = SamplingSettings(seed=5)


def solve(generator, sandbox, tasks, rounds=2, settings=SETTINGS, **options) -> list[Trajectory]:
    starts = [begin(task) for task in tasks]
    return asyncio.run(refine(generator, sandbox, starts, settings, rounds, **options))


def right_at(first_right: int) -> Answers:
    """Right from that turn on, wrong before."""
    return Answers(lambda one: answer(number_of(one) + (turn(one) < first_right)))


def test_a_right_first_answer_ends_it(sandbox):
    generator = right_at(0)
    [trajectory] = solve(generator, sandbox, [make_task(1)], rounds=3)
    assert len(generator.calls) == len(trajectory.attempts) == 1
    assert trajectory.passed
    assert [message.role for message in trajectory.conversation.messages] == ["user", "assistant"]


def test_a_wrong_answer_is_told_what_it_did_and_repaired(sandbox):
    [trajectory] = solve(right_at(1), sandbox, [make_task(1)], rounds=5)
    assert trajectory.conversation == Conversation(
        "add/1",
        (
            Message("user", "Write solve(x) that adds 1."),
            Message("assistant", answer(2)),
            Message(
                "user",
                "Execution result:\n"
                "AssertionError: adds 1\nInput: solve(0)\nExpected: 1\nActual: 2",
            ),
            Message("assistant", answer(1)),
        ),
    )


def test_the_trajectory_keeps_every_attempt(sandbox):
    [trajectory] = solve(right_at(1), sandbox, [make_task(1)])
    first, second = trajectory.attempts
    assert first == Attempt(
        reply=answer(2),
        program="def solve(x):\n    return x + 2\n",
        passed=False,
        feedback=trajectory.conversation.messages[2].content,
        generated_tokens=len(answer(2)),
        finish_reason="stop",
        status="ok",
    )
    assert (second.passed, second.feedback) == (True, "")


def test_it_stops_after_so_many_rounds(sandbox):
    generator = right_at(9)
    [trajectory] = solve(generator, sandbox, [make_task(1)], rounds=3)
    assert len(trajectory.attempts) == len(generator.calls) == 3
    assert not trajectory.passed
    assert trajectory.conversation.messages[-1].role == "assistant"


def test_a_task_goes_on_without_waiting_for_the_others(sandbox):
    repaired = threading.Event()

    def reply(conversation):
        if number_of(conversation) == 1:
            if turn(conversation):
                repaired.set()
            return answer(1 + (turn(conversation) == 0))
        assert repaired.wait(timeout=60)
        return answer(2)

    [first, second] = solve(Answers(reply), sandbox, [make_task(1), make_task(2)])
    assert (len(first.attempts), len(second.attempts)) == (2, 1)


def test_no_more_tasks_are_under_way_than_asked_for(sandbox):
    generator = right_at(1)
    solve(generator, sandbox, [make_task(number) for number in range(4)], at_once=1)
    asked = [(number_of(one), turn(one)) for one in generator.asked]
    assert asked == [(number, turn) for number in range(4) for turn in range(2)]


@pytest.mark.parametrize("rounds", [1, 3])
def test_what_has_ended_is_forgotten_and_nothing_else(sandbox, rounds):
    generator = right_at(1)
    trajectories = solve(generator, sandbox, [make_task(1), make_task(2)], rounds=rounds)
    assert sorted(generator.forgotten, key=number_of) == [one.conversation for one in trajectories]


def test_where_all_are_asked_again_together_each_waits_for_the_others(sandbox):
    seen = []

    def ask(unfinished, chance):
        seen.append([one.task.task_id for one in unfinished])
        return [one.conversation.append("user", "Again.") for one in unfinished]

    tasks = [make_task(number) for number in range(4)]
    again = AskAgain(ask, together=True)
    generator = Answers(lambda one: answer(number_of(one) + (number_of(one) > 1)))
    solve(generator, sandbox, tasks, rounds=3, ask_again=again, at_once=2)
    assert seen == [["add/2", "add/3"]] * 2


def test_an_attempt_knows_whether_it_was_asked_afresh(sandbox):
    def told(unfinished, chance):
        return [None if len(one.attempts) == 2 else "Wrong." for one in unfinished]

    [trajectory] = solve(right_at(9), sandbox, [make_task(1)], rounds=4, ask_again=AskAgain(told))
    assert [one.afresh for one in trajectory.attempts] == [False, False, True, False]


def test_the_order_of_tasks_is_kept(sandbox):
    tasks = [make_task(number) for number in (3, 1, 2)]
    trajectories = solve(right_at(1), sandbox, tasks)
    assert [one.task for one in trajectories] == tasks


def test_a_reply_without_code_is_told_so_and_scores_the_code_before(sandbox):
    generator = Answers(lambda one: "I give up." if turn(one) else answer(7))
    [trajectory] = solve(generator, sandbox, [make_task(1)], rounds=3)
    assert trajectory.conversation.messages[4].content == no_code_feedback()
    assert trajectory.program == "def solve(x):\n    return x + 7\n"


def test_no_code_at_all_scores_an_empty_program(sandbox):
    [trajectory] = solve(Answers(lambda one: "No."), sandbox, [make_task(1)])
    assert trajectory.program == ""


def test_without_public_tests_a_program_that_loads_ends_it(sandbox):
    generator = right_at(9)
    [trajectory] = solve(generator, sandbox, [make_task(1, public=False)], rounds=3)
    assert len(trajectory.attempts) == 1


def test_without_public_tests_a_program_that_does_not_load_is_told_so(sandbox):
    generator = Answers(lambda one: answer(1) if turn(one) else "```python\nx = y\n```")
    [trajectory] = solve(generator, sandbox, [make_task(1, public=False)])
    assert "NameError: name 'y' is not defined" in trajectory.conversation.messages[2].content
    assert trajectory.passed


def test_no_two_answers_draw_from_the_same_seed(sandbox):
    generator = Answers(lambda one: "No.")
    tasks = [make_task(number) for number in range(100)]
    trajectories = [begin(task, sample) for task in tasks for sample in range(2)]
    asyncio.run(refine(generator, sandbox, trajectories, SETTINGS, 2))
    seeds = [settings.seed for _, settings in generator.calls]
    assert len(set(seeds)) == len(seeds) == 400


def test_a_task_draws_from_the_same_seed_whatever_else_is_asked(sandbox):
    alone, among = Answers(lambda one: "No."), Answers(lambda one: "No.")
    solve(alone, sandbox, [make_task(3)])
    solve(among, sandbox, [make_task(number) for number in range(5)], at_once=2)
    calls = [call for call in among.calls if number_of(call[0][0]) == 3]
    assert calls == alone.calls


def test_all_but_the_seed_of_the_settings_reaches_the_generator(sandbox):
    generator = right_at(9)
    settings = SamplingSettings(7, 0.5, 0.9, 1, ("stop",))
    solve(generator, sandbox, [make_task(1)], settings=settings)
    for _, given in generator.calls:
        assert (given.max_new_tokens, given.temperature, given.top_p) == (7, 0.5, 0.9)
        assert given.stop == ("stop",)


def test_each_trajectory_is_handed_over_once_as_it_ends(sandbox):
    handed = []
    right_ones_handed = threading.Event()

    async def finish(trajectory):
        handed.append(trajectory)
        if len(handed) == 2:
            right_ones_handed.set()

    def reply(conversation):
        assert turn(conversation) == 0 or right_ones_handed.wait(timeout=60)
        return answer(number_of(conversation) + (number_of(conversation) > 1))

    tasks = [make_task(number) for number in range(4)]
    trajectories = solve(Answers(reply), sandbox, tasks, finish=finish)
    assert sorted(handed, key=lambda one: one.task.task_id) == trajectories
    assert [one.passed for one in handed] == [True, True, False, False]


def test_what_has_ended_is_dealt_with_while_others_are_answered(sandbox):
    dealt_with = threading.Event()

    async def finish(trajectory):
        dealt_with.set()

    def reply(conversation):
        assert number_of(conversation) < 2 or dealt_with.wait(timeout=60)
        return answer(number_of(conversation))

    tasks = [make_task(number) for number in range(3)]
    trajectories = solve(Answers(reply), sandbox, tasks, rounds=1, finish=finish)
    assert all(one.passed for one in trajectories)


def test_a_known_attempt_is_not_run_again(sandbox):
    known = Attempt(answer(9), "kept", True, "", 3, "stop")

    def recall(trajectory: Trajectory, completion: Completion) -> Attempt | None:
        return known if completion.text == known.reply else None

    [one, other] = solve(
        Answers(lambda one: answer(9)), sandbox, [make_task(1), make_task(9)], recall=recall
    )
    assert one.attempts == other.attempts == (known,)


def test_an_error_of_the_generator_ends_the_loop(sandbox):
    def refuse(conversation):
        raise InputError("too long")

    with pytest.raises(InputError, match=r"^too long$"):
        solve(Answers(refuse), sandbox, [make_task(1)])


def test_an_error_while_finishing_ends_the_loop(sandbox):
    async def fail(trajectory):
        raise InputError("disk full")

    with pytest.raises(InputError, match=r"^disk full$"):
        solve(right_at(0), sandbox, [make_task(1), make_task(2)], finish=fail)


def test_the_same_arguments_make_the_same_calls(sandbox):
    def calls():
        generator = right_at(1)
        solve(generator, sandbox, [make_task(number) for number in range(5)])
        return sorted(generator.calls, key=lambda call: call[1].seed)

    assert calls() == calls()
