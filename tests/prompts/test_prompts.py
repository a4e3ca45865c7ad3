"""Files that say what a model is told."""

from importlib.resources import files

import pytest

from ocijax.errors import InputError
from ocijax.judge.task import Task
from ocijax.prompts.prompts import PRESETS, load_prompts

TASK = Task("t/1", "Add one.", "solve", prompt='"""\nAdd one.\nassert solve(1) == 2\n"""\n')


@pytest.fixture
def edited(tmp_path):
    """A copy of our own preset in which a text is another."""

    def edit(old: str, new: str):
        text = (files("ocijax.prompts") / "turns.toml").read_text()
        assert old in text
        path = tmp_path / "mine.toml"
        path.write_text(text.replace(old, new))
        return path

    return edit


def test_a_file_replaces_what_a_model_is_told(edited):
    path = edited('default = "{instruction}"', 'default = "Please: {instruction}"')
    mine = load_prompts(path)
    assert mine.begin(TASK).messages[0].content == "Please: Add one."
    assert mine.name == "mine"
    assert mine.digest != load_prompts("turns").digest


def test_a_first_turn_may_be_of_a_benchmark_with_a_dot_in_its_name(edited):
    path = edited('default = "{instruction}"', 'default = ""\n"set-v0.2" = "Do: {instruction}"')
    assert load_prompts(path).begin(TASK, "set-v0.2").messages[0].content == "Do: Add one."


def test_a_benchmark_has_a_first_turn_of_its_own():
    told = load_prompts("turns").begin(TASK, "mbpp").messages[0].content
    assert told.endswith("in one Python code block.\n\nAdd one.\nassert solve(1) == 2")


def test_turns_go_on_as_a_conversation():
    conversation = load_prompts("turns").begin(TASK).append("assistant", "No.")
    went_on = load_prompts("turns").go_on(conversation, "Wrong.")
    assert went_on == conversation.append("user", "Wrong.")


def test_the_paper_goes_on_in_one_message_that_grows():
    paper = load_prompts("paper")
    asked = paper.begin(TASK, "humaneval")
    once = paper.go_on(asked.append("assistant", "No {x}."), "Wrong.")
    twice = paper.go_on(once.append("assistant", "So?"), "Again.")
    for grown in (once, twice):
        assert [message.role for message in grown.messages] == ["user"]
    grown = asked.messages[0].content + "No {x}.\n\n@@ Instruction\nWrong.\n\n@@ Response\n"
    assert once.messages[0].content == grown
    assert twice.messages[0].content == grown + "So?\n\n@@ Instruction\nAgain.\n\n@@ Response\n"


@pytest.mark.parametrize("protocol", ["human", "human_oracle"])
@pytest.mark.parametrize("preset", PRESETS)
def test_only_the_adviser_of_human_oracle_reads_the_solution(preset, protocol):
    task = Task("t/1", "Add one.", "solve", metadata={"solution": "SECRET"})
    asked = load_prompts(preset).ask_adviser(protocol, task, "PROGRAM", "FEEDBACK")
    text = asked.messages[0].content
    assert all(part in text for part in ("Add one.", "PROGRAM", "FEEDBACK", "three sentences"))
    assert ("SECRET" in text) == (protocol == "human_oracle")


def test_neither_preset_nor_file_is_refused():
    with pytest.raises(InputError, match="prompts 'mine': neither one of turns, paper nor a file"):
        load_prompts("mine")


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ('default = "{instruction}"', "", "has no default"),
        ('"{instruction}"', '"{task}"', "first.default must be a text with no blanks but {instru"),
        ('keep = "ends"', 'keep = "all"', "feedback.keep is neither ends nor head"),
        ("longest = 1500", 'longest = "x"', "feedback.longest is of the wrong type"),
        ("unknown =", "other =", "feedback.other is unknown; there are label"),
        ("[next]", "[next", "prompts "),
    ],
)
def test_a_file_that_will_not_do_is_one_line(edited, old, new, problem):
    path = edited(old, new)
    with pytest.raises(InputError) as refusal:
        load_prompts(path)
    assert str(refusal.value).startswith(f"prompts {path}: ")
    assert problem in str(refusal.value)
    assert "\n" not in str(refusal.value)
