"""Our templates as Jinja text, rendered by transformers.

Reference values are in tests/golden/templates.json, see make_templates.py; with transformers
installed it renders here, too.
"""

import json
from pathlib import Path

import pytest

from ocijax.conversation import Conversation, Message
from ocijax.errors import InputError
from ocijax.template import TEMPLATES, chat_template

GOLDEN = json.loads((Path(__file__).parents[1] / "golden/templates.json").read_text("utf-8"))

every_template = pytest.mark.parametrize("template", TEMPLATES.values(), ids=TEMPLATES)


@pytest.fixture(scope="module", params=["golden", "live"])
def by_transformers(request):
    """Text by template and conversation; ``None`` for what the Jinja text refuses."""
    if request.param == "golden":
        return GOLDEN["ours"]
    pytest.importorskip("transformers")
    from tests.golden import make_templates

    return make_templates.ours()


@every_template
def test_the_golden_file_is_of_this_jinja_text(template):
    assert chat_template(template) == GOLDEN["chat_templates"][template.name]


def rendered(template, case, messages):
    """Our text as Jinja text spells it, or ``None`` where the template refuses the conversation."""
    turns = tuple(Message(**message) for message in messages)
    try:
        pieces = template.render(Conversation(case, turns))
    except InputError:
        return None
    spellings = dict(template.jinja_spellings)
    return "".join(
        spellings.get(piece.text, piece.text) if piece.special else piece.text for piece in pieces
    )


@every_template
def test_jinja_text_renders_as_the_template(by_transformers, template):
    assert by_transformers[template.name] == {
        case: rendered(template, case, messages)
        for case, messages in GOLDEN["conversations"].items()
    }


def test_the_published_jinja_of_deepseek_coder_renders_as_ours_live(data_dir):
    pytest.importorskip("transformers")
    from tests.golden import make_templates

    template = TEMPLATES["deepseek-coder"]
    published = (data_dir / "templates.md").read_text("utf-8").split("```\n")[1]
    for case, messages in GOLDEN["conversations"].items():
        ours = rendered(template, case, messages)
        if ours is not None:
            begin = template.begin_of_sequence
            theirs = make_templates.render(published.rstrip("\n"), messages, bos_token=begin)
            assert theirs == ours
