import numpy as np
import pytest

from ocijax.conversation import Conversation, Message
from ocijax.data.example import Counts, make_example, make_examples
from ocijax.errors import InputError
from ocijax.template import TEMPLATES, get_template, tokenize
from ocijax.tokenizer import load_tokenizer

every_template = pytest.mark.parametrize("template", TEMPLATES.values(), ids=TEMPLATES)
LONG = 10_000


def conversation(*contents: str, system: str | None = None, **metadata) -> Conversation:
    roles = ("user", "assistant")
    messages = [Message(roles[i % 2], content) for i, content in enumerate(contents)]
    first = [Message("system", system)] if system else []
    return Conversation("c", (*first, *messages), metadata=metadata)


THREE_TURNS = conversation("u0", "a0", "u1", "a1", "u2", "a2")


@pytest.fixture(scope="module")
def tiny(tiny_tokenizer_file):
    return load_tokenizer(tiny_tokenizer_file)


def trained_text(example, template, tokenizer) -> str:
    trained = example.tokens[example.loss_weights > 0].tolist()
    end = tokenizer.special_id(template.end_of_turn)
    return "".join("|" if token == end else tokenizer.decode([token]) for token in trained)


@every_template
def test_only_what_the_model_writes_is_trained_and_its_end_of_turn_with_it(template, tiny):
    example, _ = make_example(THREE_TURNS, template, tiny, length=LONG)
    assert "".join(trained_text(example, template, tiny).split()) == "a0|a1|a2|"


@every_template
def test_the_policy_weighs_turns(template, tiny):
    example, _ = make_example(THREE_TURNS, template, tiny, length=LONG, policy="last")
    assert trained_text(example, template, tiny).strip().startswith("a2")
    weighed = conversation("u0", "a0", "u1", "a1", loss_weights=[0.5, 2.0])
    example, _ = make_example(weighed, template, tiny, length=LONG, policy="custom")
    assert set(example.loss_weights.tolist()) == {0.0, 0.5, 2.0}


def test_arrays_are_aligned_and_typed(tiny):
    example, counts = make_example(THREE_TURNS, get_template("llama-2"), tiny, length=LONG)
    assert example.tokens.dtype == np.int32
    assert example.loss_weights.dtype == np.float32
    assert example.tokens.shape == example.loss_weights.shape == (counts.tokens,)
    assert example.loss_weights[0] == 0
    assert counts.trained_tokens == np.count_nonzero(example.loss_weights)


@pytest.mark.parametrize(
    ("template", "system"),
    [(one, None) for one in TEMPLATES.values()]
    + [(one, "s") for one in TEMPLATES.values() if one.system is not None],
    ids=lambda value: getattr(value, "name", value),
)
def test_a_shortened_conversation_is_what_its_kept_messages_render_to(template, tiny, system):
    whole = conversation("u0", "a0", "u1", "a1", "u2", "a2", system=system)
    start = len(whole.messages) - 5
    short = Conversation("c", (*whole.messages[:start], *whole.messages[start + 2 :]))
    expected = tokenize(short, template, tiny)
    length = len(expected.tokens)
    example, counts = make_example(whole, template, tiny, length=length)
    assert example.tokens.tolist() == expected.tokens.tolist()
    assert (example.loss_weights > 0).tolist() == expected.completion.tolist()
    assert (counts.shortened, counts.dropped_turns) == (1, 2)


def test_a_conversation_that_cannot_be_shortened_enough_is_counted(tiny):
    example, counts = make_example(THREE_TURNS, get_template("llama-2"), tiny, length=8)
    assert example is None
    assert counts == Counts(conversations=1, too_long=1)


def test_a_last_user_turn_without_an_answer_is_dropped_and_counted(tiny):
    template = get_template("llama-2")
    asked = THREE_TURNS.append("user", "u3")
    example, counts = make_example(asked, template, tiny, length=LONG)
    expected, _ = make_example(THREE_TURNS, template, tiny, length=LONG)
    assert example.tokens.tolist() == expected.tokens.tolist()
    assert counts.dropped_unanswered == 1


def test_a_conversation_that_trains_nothing_is_counted(tiny):
    template = get_template("llama-2")
    failed = conversation("u", "a", passed=[False])
    for conversation_, policy in ((failed, "passed"), (conversation("u"), "all")):
        example, counts = make_example(conversation_, template, tiny, length=LONG, policy=policy)
        assert example is None
        assert counts.untrained == 1


def test_counts_of_many_add_up(tiny):
    long = conversation("u", "a" * 100)
    asked = conversation("u", "a", "u")
    examples, counts = make_examples(
        [THREE_TURNS, long, asked], get_template("llama-2"), tiny, length=60
    )
    assert len(examples) == counts.examples == 2
    assert counts.conversations == 3
    assert (counts.too_long, counts.dropped_unanswered) == (1, 1)
    assert counts.tokens == sum(len(example.tokens) for example in examples)


def test_a_tokenizer_without_the_special_tokens_is_refused(data_dir):
    tokenizer = load_tokenizer(data_dir / "tokenizers/llama2")
    with pytest.raises(InputError, match="lacks the special tokens"):
        make_example(THREE_TURNS, get_template("deepseek-coder"), tokenizer, length=LONG)
