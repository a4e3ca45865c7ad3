"""Asking an endpoint that fails now and then, and one that dies."""

import shelve
import sys
import threading
import time
from dataclasses import replace

import pytest

from ocijax.errors import InputError
from ocijax.sample.endpoint import Endpoint
from ocijax.sample.settings import SamplingSettings
from tests.sample.conftest import conversation
from tests.sample.fake_endpoint import endpoint

pytest.importorskip("openai", reason="openai, the client of endpoints, is absent")

ASKED = [conversation(words) for words in range(1, 7)]
GREEDY = SamplingSettings(max_new_tokens=5)


def test_answers_come_in_order_with_the_settings_that_were_given():
    seen = []

    def behave(request, number):
        seen.append(request)
        time.sleep(0.02 * (3 - number % 3))
        return 200, {}

    with endpoint(behave) as url:
        asker = Endpoint(url, "some", concurrency=3)
        settings = SamplingSettings(7, 0.5, 0.9, seed=4, stop=("end",), top_k=3)
        completions = asker.generate(ASKED, settings)
    assert [one.text for one in completions] == ["1", "2", "3", "4", "5", "6"]
    assert {(one.tokens, one.finish_reason) for one in completions} == {((), "stop")}
    assert (asker.prompt_tokens, asker.completion_tokens) == (18, 6)
    expected = {"model": "some", "temperature": 0.5, "top_p": 0.9, "stop": ["end"], "top_k": 3}
    for request in seen:
        assert request | expected | {"max_completion_tokens": 7} == request
    assert len({request["seed"] for request in seen}) == len(ASKED)


def test_log_probabilities_are_asked_for_where_the_settings_ask_and_given_only_then():
    asks = []

    def behave(request, number):
        asks.append(request.get("logprobs"))
        return 200, {}

    with endpoint(behave, log_probabilities=[-0.5, -2.0]) as url:
        asker = Endpoint(url, "some")
        [asked] = asker.generate(ASKED[:1], replace(GREEDY, log_probabilities=True))
        [plain] = asker.generate(ASKED[:1], GREEDY)
    assert (asked.log_probabilities, plain.log_probabilities) == ((-0.5, -2.0), ())
    assert asks == [True, None]


def test_an_endpoint_that_gives_none_is_refused_where_they_are_asked_for():
    with endpoint(lambda request, number: (200, {})) as url:
        asker = Endpoint(url, "some")
        with pytest.raises(InputError, match="it gives no log-probabilities; ask without"):
            asker.generate(ASKED[:1], replace(GREEDY, log_probabilities=True))


def test_no_more_requests_are_made_at_once_than_allowed():
    lock, running, most = threading.Lock(), 0, 0

    def behave(request, number):
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.05)
        with lock:
            running -= 1
        return 200, {}

    with endpoint(behave) as url:
        asker = Endpoint(url, "some", concurrency=2)
        asker.generate(ASKED, GREEDY)
    assert most == 2


@pytest.mark.parametrize("status", [429, 503, None])
def test_what_fails_for_a_while_is_asked_again(status):
    with endpoint(lambda request, number: (status if number < 2 else 200, {})) as url:
        [completion] = Endpoint(url, "some", retries=2).generate(ASKED[:1], GREEDY)
    assert completion.text == "1"


def test_it_waits_as_long_as_the_endpoint_says():
    times = []

    def behave(request, number):
        times.append(time.monotonic())
        return (200, {}) if number else (429, {"Retry-After": 2})

    with endpoint(behave) as url:
        Endpoint(url, "some").generate(ASKED[:1], GREEDY)
    assert 1.9 < times[1] - times[0] < 10


@pytest.mark.parametrize("status", [500, None])
def test_of_an_endpoint_that_dies_the_answers_are_kept(status):
    dying, asked = True, []

    def behave(request, number):
        asked.append(len(request["messages"][-1]["content"].split()))
        return (200, {}) if number < 2 or not dying else (status, {})

    with endpoint(behave) as url:
        asker = Endpoint(url, "some", concurrency=1, retries=1)
        with pytest.raises(InputError, match="conversation of 3 words") as failure:
            asker.generate(ASKED, GREEDY)
        assert str(failure.value).startswith(url)
        assert ("no luck 500" if status else "Connection error") in str(failure.value)
        assert "2 of 6 answers are there and kept" in str(failure.value)
        assert asked == [1, 2, 3, 3]
        dying = False
        completions = asker.generate(ASKED, GREEDY)
        assert [one.text for one in completions] == ["1", "2", "3", "4", "5", "6"]
        assert asked[4:] == [3, 4, 5, 6]
        # Once a call is done, it is another call.
        asker.generate(ASKED[:1], GREEDY)
        assert asked[8:] == [1]


def test_kept_answers_on_disk_outlive_the_process(tmp_path):
    asked = []

    def behave(request, number):
        asked.append(len(request["messages"][-1]["content"].split()))
        return (500 if number == 1 else 200), {}

    def ask():
        with shelve.open(tmp_path / "kept") as kept:
            asker = Endpoint(url, "some", concurrency=1, retries=0, kept=kept)
            try:
                return [one.text for one in asker.generate(ASKED[:3], GREEDY)]
            finally:
                left.append(len(kept))

    left = []
    with endpoint(behave) as url:
        with pytest.raises(InputError, match="1 of 3 answers"):
            ask()
        assert ask() == ["1", "2", "3"]
    assert asked == [1, 2, 2, 3]
    assert left == [1, 0]


def test_a_request_that_is_wrong_is_not_made_again():
    asked = []

    def behave(request, number):
        asked.append(number)
        return 400, {}

    with endpoint(behave) as url, pytest.raises(InputError, match=r"400.*no luck 400"):
        Endpoint(url, "some").generate(ASKED[:1], GREEDY)
    assert asked == [0]


def test_an_endpoint_that_is_not_there_is_named():
    asker = Endpoint("http://127.0.0.1:9/v1", "some", retries=0)
    with pytest.raises(InputError, match=r"^http://127.0.0.1:9/v1: .*Connection error.*refused"):
        asker.generate(ASKED[:1], GREEDY)


def test_without_the_client_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(InputError, match=r"pip install 'ocijax\[endpoint\]'"):
        Endpoint("http://127.0.0.1:9/v1", "some")
