"""OpenAI's JSON, read and written."""

import pytest

from ocijax.conversation import Message
from ocijax.sample.chat_api import Reply, RequestError, error_json, parse_request
from ocijax.sample.settings import Completion, SamplingSettings

USER = {"role": "user", "content": "write f"}


def parse(**fields):
    return parse_request({"model": "tiny", "messages": [USER], **fields}, "tiny", "id")


def test_what_is_left_out_is_as_openai_has_it():
    asked = parse()
    assert asked.conversation.messages == (Message("user", "write f"),)
    assert (asked.settings.temperature, asked.settings.top_p, asked.settings.top_k) == (1, 1, 0)
    assert asked.settings.max_new_tokens > 1e9
    assert (asked.answers, asked.stream, asked.include_usage) == (1, False, False)
    assert asked.settings.seed != parse().settings.seed
    assert parse(temperature=None, stop=None, tools=None, n=None).settings.temperature == 1


def test_what_is_left_out_may_be_as_the_server_has_it():
    served = SamplingSettings(9, temperature=0.2, top_p=0.5, top_k=3)
    body = {"model": "tiny", "messages": [USER], "seed": 0}
    assert parse_request(body, "tiny", "id", served).settings == served
    asked = parse_request(body | {"top_k": 7, "max_tokens": 30}, "tiny", "id", served).settings
    assert (asked.top_k, asked.max_new_tokens, asked.top_p) == (7, 30, 0.5)


def test_fields_become_settings():
    asked = parse(
        temperature=0,
        top_p=0.5,
        seed=-1,
        stop="end",
        max_tokens=7,
        max_completion_tokens=8,
        n=3,
        logprobs=True,
        stream=True,
        stream_options={"include_usage": True},
    )
    settings = asked.settings
    assert (settings.temperature, settings.top_p, settings.seed) == (0, 0.5, 2**32 - 1)
    assert (settings.stop, settings.max_new_tokens) == (("end",), 8)
    assert settings.log_probabilities
    assert (len(asked.conversations), asked.stream, asked.include_usage) == (3, True, True)
    assert parse(max_tokens=7, stop=["a", "b"]).settings.stop == ("a", "b")


def test_messages_may_be_what_the_client_was_given_and_come_in_parts():
    rows = [
        {"role": "developer", "content": "be brief"},
        {"role": "user", "content": [{"type": "text", "text": x} for x in ("a", "b")]},
        {"role": "assistant", "content": "c", "refusal": None, "tool_calls": None},
        USER | {"name": "Ann"},
    ]
    assert [(one.role, one.content) for one in parse(messages=rows).conversation.messages] == [
        ("system", "be brief"),
        ("user", "ab"),
        ("assistant", "c"),
        ("user", "write f"),
    ]


def test_fields_that_ask_for_nothing_are_passed_over():
    parse(
        tools=[],
        logprobs=False,
        presence_penalty=0.0,
        response_format={"type": "text"},
        user="someone",
        store=True,
    )


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"tools": [{"type": "function"}]}, "tools is not supported"),
        ({"top_logprobs": 3}, "top_logprobs is not supported"),
        ({"response_format": {"type": "json_object"}}, "response_format is not supported"),
        ({"frequency_penalty": 0.5}, "frequency_penalty is not supported"),
        ({"temprature": 0.5}, "temprature is not supported"),
        ({"temperature": "hot"}, "temperature is not a number"),
        ({"temperature": True}, "temperature is not a number"),
        ({"temperature": -1}, "temperature must be 0 or more"),
        ({"top_p": 0}, "top_p must be above 0"),
        ({"n": 0}, "n must be from 1 to 128, is 0"),
        ({"n": 1.5}, "n is not a whole number"),
        ({"max_tokens": 0}, "max_new_tokens must be at least 1"),
        ({"stop": 5}, "stop is neither text nor a list of texts"),
        ({"stop": [""]}, "a stop string is empty"),
        ({"stream": "yes"}, "stream is not true or false"),
        ({"stream_options": {"include_usage": True}}, "stream_options is for streams"),
        ({"messages": []}, "messages is missing or empty"),
        ({"messages": "hi"}, "messages is not a list"),
        ({"messages": ["hi"]}, "message 0 is not a JSON object"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "message 0 has the unknown role 'tool'"),
        ({"messages": [{"role": ["user"], "content": "x"}]}, "message 0 has the unknown role"),
        ({"messages": [{"role": "user", "content": ""}]}, r"message 0 \(user\) is empty"),
        ({"messages": [{"role": "user", "content": None}]}, "has no text as its content"),
        ({"messages": [{"role": "user", "content": "\ud800"}]}, "half of a surrogate pair"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
            "parts that are not text",
        ),
        ({"messages": [USER | {"tool_calls": [{}]}]}, "message 0 has tool_calls"),
        ({"model": None}, "model is missing; there is 'tiny'"),
    ],
)
def test_a_bad_request_is_refused_with_its_reason(fields, reason):
    with pytest.raises(RequestError, match=reason) as refused:
        parse(**fields)
    assert refused.value.status == 400
    assert error_json(refused.value)["error"]["type"] == "invalid_request_error"


def test_another_model_is_not_found():
    with pytest.raises(RequestError, match="there is no model 'gpt', only 'tiny'") as refused:
        parse(model="gpt")
    error = error_json(refused.value)["error"]
    assert (refused.value.status, error["code"], error["param"]) == (
        404,
        "model_not_found",
        "model",
    )


def test_what_is_no_object_is_refused():
    for body in ([], "text", None, 5):
        with pytest.raises(RequestError, match="not a JSON object"):
            parse_request(body, "tiny", "id")


def test_usage_counts_all_answers():
    reply = Reply("id", 0, "tiny", prompt_tokens=5, token_text=str)
    whole = reply.whole([Completion("a", (1, 2), "stop"), Completion("b", (3,), "length")])
    assert whole["usage"] == {"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8}
    assert [one["finish_reason"] for one in whole["choices"]] == ["stop", "length"]
