"""The page: what it embeds, what it allows, and how it looks to a browser."""

import base64
import gzip
import hashlib
import json
import re
from html.parser import HTMLParser

import pytest

from benchmarks.chromium import Browser, find_chromium
from benchmarks.report import READY, make_run
from ocijax.report.contents import tables
from ocijax.report.files import write_report
from ocijax.report.page import to_html
from ocijax.report.plots import plots
from ocijax.report.runs import find_runs
from tests.report.conftest import attempt, row, write_run

HOSTILE = "</script><img src=x onerror=\"document.title='taken'\"><script>alert(1)</script> \ud800"

browser_needed = pytest.mark.skipif(not find_chromium(), reason="no Chromium is installed")


@pytest.fixture
def hostile(tmp_path):
    """A run whose model tries to get its text into the page as more than text."""
    result = row("t/1", "wrong pass", True)
    for one in (*result["conversation"]["messages"], *result["attempts"]):
        for field in ("content", "reply", "program", "feedback"):
            if one.get(field):
                one[field] += HOSTILE
    result["task_id"] = f"t/1{HOSTILE}"
    rows = [result, row("t/2", "syntax none", False)]
    folder = write_run(tmp_path / "<b>run", rows, model=f"m {HOSTILE}")
    write_run(tmp_path / "single", rows, model=f"m {HOSTILE}", protocol="single")
    return folder.parent


class Parts(HTMLParser):
    """Elements of a page and the text of its scripts and styles."""

    def __init__(self):
        super().__init__()
        self.tags, self.texts, self.addresses = [], {}, []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.addresses += [value for name, value in attrs if name in ("src", "href", "srcset")]

    def handle_data(self, data):
        tag, attributes = self.tags[-1] if self.tags else ("", {})
        if tag in ("script", "style"):
            self.texts.setdefault(attributes.get("id", tag), data)


def parsed(place) -> tuple[str, Parts]:
    runs = find_runs([place])
    text = "".join(to_html(f"A {HOSTILE}", runs, tables(runs), plots(runs)))
    parts = Parts()
    parts.feed(text)
    return text, parts


def unpacked(parts, name):
    return json.loads(gzip.decompress(base64.b64decode(parts.texts[name])))


def test_nothing_is_fetched(hostile):
    _, parts = parsed(hostile)
    # Sources are links, which only a click follows.
    assert all(address.startswith(("#", "https://")) for address in parts.addresses)
    assert not {"link", "img", "iframe", "object"} & {tag for tag, _ in parts.tags}


def test_its_policy_allows_its_own_script_and_style_alone(hostile):
    text, parts = parsed(hostile)
    [policy] = re.findall(r'Content-Security-Policy" content="([^"]*)"', text)
    allowed = dict(one.strip().split(" ", 1) for one in policy.split(";"))
    assert allowed["default-src"] == allowed["base-uri"] == allowed["form-action"] == "'none'"
    for name in ("script", "style"):
        digest = hashlib.sha256(parts.texts[name].encode()).digest()
        assert allowed[f"{name}-src"] == f"'sha256-{base64.b64encode(digest).decode()}'"
    assert not any(
        name == "style" or name.startswith("on") for _, attrs in parts.tags for name in attrs
    )


def test_nothing_of_a_model_is_markup(hostile):
    text, parts = parsed(hostile)
    assert "<img" not in text
    assert "alert(1)</script>" not in text
    assert unpacked(parts, "index")["task"][0] == f"t/1{HOSTILE}"
    [first, *_] = unpacked(parts, "chunk-0")
    assert HOSTILE in first["turns"][1]["text"]


def test_plots_are_drawn_for_what_there_is(four):
    titles = [plot.title for plot in plots(find_runs([four]))]
    assert titles == [
        "Pass rate of each run",
        "Pass rate by round: adding",
        "Pass rate by round: adding+",
        "Errors before and after repair",
        "Tokens per solved task",
    ]


@browser_needed
@pytest.mark.parametrize("dark", [False, True])
def test_a_browser_shows_a_hostile_trajectory_as_text(hostile, tmp_path, dark):
    [*_, page] = write_report(find_runs([hostile]), tmp_path / "report")
    with Browser(dark=dark) as browser:
        browser.open(page.as_uri(), READY)
        assert browser.evaluate("document.querySelectorAll('figure svg').length") == 4
        browser.evaluate("document.querySelector('.row').click()")
        browser.wait("document.querySelectorAll('#trajectory .answer').length == 2")
        shown = browser.evaluate("document.querySelector('#trajectory .user pre').textContent")
        assert shown.startswith("Solve t/1.</script><img")
        changed = browser.evaluate("document.querySelector('.diff .added').textContent")
        assert changed == "+x = 2\n"
        assert browser.evaluate("document.title") == "Evaluation report"
        assert browser.evaluate("document.images.length") == 0
        assert browser.problems == []
        assert browser.requested == [page.as_uri()]


@browser_needed
def test_filters_keys_and_addresses_choose_trajectories(tmp_path):
    rows = [
        row("t/1", "pass", True),
        row("t/2", "wrong pass", True),
        row("t/3", "none none", False),
    ]
    write_run(tmp_path / "runs" / "a", rows)
    write_run(tmp_path / "runs" / "b", rows[1:], protocol="single")
    [*_, page] = write_report(find_runs([tmp_path / "runs"]), tmp_path / "report")
    with Browser() as browser:

        def choose(field: str, text: str) -> str:
            browser.evaluate(
                f"(field => {{ field.value = [...field.options ?? []].find(one => "
                f"one.textContent.startsWith({text!r}))?.value ?? {text!r}; "
                "field.dispatchEvent(new Event('input', {bubbles: true})) })"
                f"(document.getElementById('of-{field}'))"
            )
            return browser.evaluate("document.getElementById('found').textContent")

        browser.open(f"{page.as_uri()}#run=b&task=t/2&sample=0", READY)
        browser.wait("document.querySelector('#trajectory h3')?.textContent == 't/2'")
        assert choose("error", "no program") == "2 of 5"
        assert choose("run", "a (") == "1 of 5"
        browser.evaluate("document.getElementById('filters').reset()")
        assert choose("outcome", "solved by a later") == "2 of 5"
        browser.evaluate("document.getElementById('filters').reset()")
        assert choose("task", "T/3") == "2 of 5"
        browser.evaluate(
            "document.getElementById('list').dispatchEvent(new KeyboardEvent('keydown', "
            "{key: 'End'}))"
        )
        browser.wait("document.querySelector('#trajectory h3')?.textContent == 't/3'")
        assert browser.evaluate("location.hash") == "#run=b&task=t%2F3&sample=0"
        assert browser.problems == []


@browser_needed
def test_a_long_trajectory_of_a_model_is_shown_whole(tmp_path):
    result = row("t/1", "pass", True)
    result["attempts"] = [attempt("pass", "x = 1\n" * 20_000)]
    result["conversation"]["messages"][1]["content"] = result["attempts"][0]["reply"]
    write_run(tmp_path / "run", [result])
    [*_, page] = write_report(find_runs([tmp_path / "run"]), tmp_path / "report")
    with Browser() as browser:
        browser.open(f"{page.as_uri()}#task=t/1", READY)
        browser.wait("document.querySelector('#trajectory .answer pre') != null")
        length = "document.querySelector('#trajectory .answer pre').textContent.length"
        assert browser.evaluate(length) > 120_000


@browser_needed
@pytest.mark.parametrize(
    ("settings", "passed"),
    [
        ({}, "passed public tests"),
        ({"protocol": "execution_oracle", "oracle_tests": "base"}, "passed base tests"),
        ({"protocol": "human", "oracle_tests": "plus"}, "passed base and plus tests"),
    ],
)
def test_an_answer_is_said_to_have_passed_the_tests_that_were_run(tmp_path, settings, passed):
    write_run(tmp_path / "run", [row("t/1", "pass", True)], **settings)
    [*_, page] = write_report(find_runs([tmp_path / "run"]), tmp_path / "report")
    with Browser() as browser:
        browser.open(f"{page.as_uri()}#task=t/1", READY)
        browser.wait("document.querySelector('#trajectory .answer .good') != null")
        said = "document.querySelector('#trajectory .answer .good').textContent"
        assert browser.evaluate(said) == passed


@browser_needed
@pytest.mark.soak
def test_ten_thousand_tasks(tmp_path):
    for protocol in ("single", "execution"):
        make_run(tmp_path / "runs" / protocol, protocol, 10_000)
    runs = find_runs([tmp_path / "runs"])
    [*_, page] = write_report(runs, tmp_path / "report")
    assert page.stat().st_size < 40e6
    repaired = [one["task_id"] for one in runs[0].rows if one["rounds"] == 2 and one["program"]]
    with Browser() as browser:
        browser.open(page.as_uri(), READY)
        assert browser.evaluate("document.querySelectorAll('figure svg').length") == 5
        assert browser.evaluate("document.querySelectorAll('.row').length") < 100
        browser.evaluate(f"location.hash = 'run=execution&task={repaired[-1]}'")
        browser.wait("document.querySelectorAll('#trajectory .answer').length == 2")
        assert browser.evaluate("document.querySelectorAll('.diff .added').length") > 0
        assert browser.problems == []
