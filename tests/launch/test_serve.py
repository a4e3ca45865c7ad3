"""launch.serve, asked by OpenAI's own client."""

import dataclasses
import http.client
import itertools
import json
import random
import signal
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import jax
import pytest

from launch.serve import Server
from ocijax.conversation import Conversation, Message
from ocijax.model.parameters import init_parameters
from ocijax.sample.endpoint import Endpoint
from ocijax.sample.sampler import Sampler
from ocijax.sample.settings import SamplingSettings
from ocijax.template import LLAMA2
from ocijax.tokenizer import SentencePieceTokenizer
from ocijax.train.checkpoint import ModelDescription, save_model
from tests.sample.conftest import COMPUTE, CONFIG, conversation

openai = pytest.importorskip("openai", reason="openai, the client of endpoints, is absent")

SLOTS = 8
LONG = dataclasses.replace(CONFIG, max_position_embeddings=2048)


@pytest.fixture(scope="module")
def parameters():
    """Of a model whose greedy answers never end, and that prefers one token clearly."""
    fresh = init_parameters(CONFIG, jax.random.key(0))
    large = {path: array if "norm" in path else 8 * array for path, array in fresh.items()}
    return {**large, "head": large["head"].at[:, 2].set(0)}


@pytest.fixture(scope="module")
def finished():
    """How many answers were generated to their end, as they were reported."""
    return []


@pytest.fixture(scope="module")
def sampler(parameters, tiny_sentencepiece, finished) -> Sampler:
    tokenizer = SentencePieceTokenizer(tiny_sentencepiece, "tiny")
    return Sampler(
        LONG,
        parameters,
        tokenizer,
        LLAMA2,
        compute=COMPUTE,
        slots=SLOTS,
        context=1024,
        decode_steps=4,
        observe=finished.append,
    )


@pytest.fixture(scope="module")
def server(sampler):
    with Server(("127.0.0.1", 0), sampler, "tiny") as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture(scope="module")
def client(server):
    return openai.OpenAI(base_url=server.url, api_key="none", max_retries=0, timeout=120)


def asked(words: int) -> list[dict[str, str]]:
    return [{"role": "user", "content": conversation(words).messages[0].content}]


def wait_until_free(sampler) -> None:
    deadline = time.monotonic() + 60
    while sampler.free_slots < sampler.slots and time.monotonic() < deadline:
        time.sleep(0.01)
    assert sampler.free_slots == sampler.slots


def streamed(stream) -> str:
    return "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)


def test_the_client_chats_and_is_told_what_it_took(client, sampler):
    [expected] = sampler.generate([conversation(3)], SamplingSettings(20))
    answer = client.chat.completions.create(
        model="tiny", messages=asked(3), temperature=0, max_completion_tokens=20
    )
    [choice] = answer.choices
    assert (choice.message.role, choice.message.content) == ("assistant", expected.text)
    assert choice.finish_reason == "length"
    assert answer.usage.completion_tokens == 20
    assert answer.usage.prompt_tokens == sampler.prompt_tokens(conversation(3))
    turns = [*asked(3), choice.message, {"role": "user", "content": "again"}]
    again = client.chat.completions.create(model="tiny", messages=turns, max_tokens=5)
    assert again.usage.prompt_tokens > answer.usage.total_tokens


def test_the_client_streams_what_it_would_be_given_whole(client):
    fields = {"model": "tiny", "messages": asked(2), "n": 3, "seed": 5, "max_tokens": 40}
    whole = client.chat.completions.create(**fields)
    chunks = [
        *client.chat.completions.create(
            **fields, stream=True, stream_options={"include_usage": True}
        )
    ]
    texts, ends = [""] * 3, {}
    for chunk in chunks[:-1]:
        [choice] = chunk.choices
        texts[choice.index] += choice.delta.content or ""
        if choice.finish_reason:
            ends[choice.index] = choice.finish_reason
    assert texts == [choice.message.content for choice in whole.choices]
    assert len(set(texts)) == 3
    assert ends == dict.fromkeys(range(3), "length")
    assert len(chunks) > 12
    assert chunks[-1].usage == whole.usage


def test_a_stop_string_ends_an_answer_and_is_never_sent(client):
    fields = {"model": "tiny", "messages": asked(2), "temperature": 0, "max_tokens": 60}
    text = client.chat.completions.create(**fields).choices[0].message.content
    stop = text[20:23]
    stream = client.chat.completions.create(**fields, stop=[stop], stream=True)
    assert streamed(stream) == text[: text.index(stop)].rstrip()


def test_a_client_that_goes_away_mid_stream_frees_its_slot(client, sampler, finished):
    before = sum(finished)
    fields = {"model": "tiny", "messages": asked(2), "temperature": 0, "stream": True}
    for _ in range(2 * SLOTS):
        stream = client.chat.completions.create(**fields)
        assert next(stream).choices
        assert sampler.free_slots < SLOTS
        stream.close()
    wait_until_free(sampler)
    assert sum(finished) == before


def test_so_does_one_that_waits_for_the_whole_answer(server, sampler, finished):
    before = sum(finished)
    body = json.dumps({"model": "tiny", "messages": asked(2), "temperature": 0})
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port)
    connection.request("POST", "/v1/chat/completions", body)
    while sampler.free_slots == SLOTS:
        time.sleep(0.001)
    connection.close()
    wait_until_free(sampler)
    assert sum(finished) == before


def request(server, method, path, body=b"", headers=()):
    """Status, headers and JSON of what is answered."""
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=60)
    connection.request(method, path, body, dict(headers))
    response = connection.getresponse()
    content = response.read()
    connection.close()
    return response.status, response.headers, json.loads(content)


CHAT = "/v1/chat/completions"
TOO_LONG = {"model": "tiny", "messages": asked(300)}
NO_QUESTION = {"model": "tiny", "messages": [*asked(1), {"role": "assistant", "content": "a"}]}


@pytest.mark.parametrize(
    ("status", "method", "path", "body", "reason"),
    [
        (400, "POST", CHAT, b"", "not JSON"),
        (400, "POST", CHAT, b"{" * 100_000, "not JSON"),
        (400, "POST", CHAT, b"\xff", "not JSON"),
        (400, "POST", CHAT, {"model": "tiny"}, "messages is missing"),
        (400, "POST", CHAT, {"model": "tiny", "messages": asked(1), "tools": [{}]}, "tools"),
        (400, "POST", CHAT, TOO_LONG, "leave no room for an answer"),
        (400, "POST", CHAT, NO_QUESTION, "does not end with a user turn"),
        (404, "POST", CHAT, {"model": "gpt", "messages": asked(1)}, "there is no model 'gpt'"),
        (404, "POST", "/v1/completions", {}, "there is no /v1/completions"),
        (405, "GET", CHAT, b"", "takes POST, not GET"),
        (405, "DELETE", "/v1/models", b"", "takes GET, not DELETE"),
        (400, "BREW", CHAT, b"", "BREW"),
        (413, "POST", CHAT, b" " * ((16 << 20) + 1), "more than 16777216"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_bad_request_is_refused_with_a_reason(server, status, method, path, body, reason):
    body = body if isinstance(body, bytes) else json.dumps(body).encode()
    got, headers, content = request(server, method, path, body)
    assert (got, headers["Content-Type"]) == (status, "application/json")
    assert content["error"]["type"] == "invalid_request_error"
    assert reason in content["error"]["message"]
    assert headers.get("Allow") == ({CHAT: "POST"}.get(path, "GET") if status == 405 else None)


def test_the_client_raises_what_was_wrong(client):
    with pytest.raises(openai.NotFoundError, match="there is no model 'gpt', only 'tiny'"):
        client.chat.completions.create(model="gpt", messages=asked(1))
    with pytest.raises(openai.BadRequestError, match="leave no room"):
        client.chat.completions.create(model="tiny", messages=asked(300), stream=True)


def test_what_is_no_http_is_refused_and_harms_nobody(server, client):
    for content in (b"hello\r\n\r\n", b"\x16\x03\x01" * 9 + b"\n", b"GET / HTTP/9\r\n\r\n", b""):
        with socket.create_connection(("127.0.0.1", server.server_port)) as connection:
            connection.sendall(content)
            connection.shutdown(socket.SHUT_WR)
            connection.recv(1 << 16)
    assert client.models.list().data[0].id == "tiny"


def test_it_says_how_many_slots_are_free(server, sampler):
    wait_until_free(sampler)
    status, _, content = request(server, "GET", "/health")
    assert (status, content) == (200, {"status": "ok", "slots": SLOTS, "free_slots": SLOTS})


def test_more_requests_than_it_takes_are_told_to_come_again(sampler):
    with Server(("127.0.0.1", 0), sampler, "tiny", most_requests=1) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        client = openai.OpenAI(base_url=server.url, api_key="none", max_retries=0)
        stream = client.chat.completions.create(
            model="tiny", messages=asked(1), temperature=0, stream=True
        )
        body = json.dumps({"model": "tiny", "messages": asked(1)})
        status, headers, _ = request(server, "POST", CHAT, body)
        assert (status, headers["Retry-After"]) == (503, "1")
        stream.close()
        server.shutdown()
    wait_until_free(sampler)


def test_a_failure_of_ours_is_told_and_ends_one_request_only(server, client, sampler, monkeypatch):
    def fail(*_):
        raise RuntimeError("out of memory")

    with monkeypatch.context() as patch:
        patch.setattr(sampler.engine, "set_rows", fail)
        with pytest.raises(openai.InternalServerError, match="its log says why"):
            client.chat.completions.create(model="tiny", messages=asked(1), max_tokens=3)
    assert client.chat.completions.create(model="tiny", messages=asked(1), max_tokens=3).usage
    wait_until_free(sampler)


def test_a_server_has_defaults_of_its_own(sampler):
    greedy = SamplingSettings(max_new_tokens=5)
    [expected] = sampler.generate([conversation(3)], greedy)
    with Server(("127.0.0.1", 0), sampler, "tiny", defaults=greedy) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        client = openai.OpenAI(base_url=server.url, api_key="none", max_retries=0)
        answer = client.chat.completions.create(model="tiny", messages=asked(3))
        server.shutdown()
    assert answer.choices[0].message.content == expected.text


def test_when_it_stops_answers_under_way_end_and_others_are_refused(sampler):
    server = Server(("127.0.0.1", 0), sampler, "tiny")
    threading.Thread(target=server.serve_forever, daemon=True).start()
    client = openai.OpenAI(base_url=server.url, api_key="none", max_retries=0)
    fields = {"model": "tiny", "messages": asked(1), "stream": True}
    short = client.chat.completions.create(**fields, max_tokens=50)
    first = next(short).choices[0].delta.content
    with ThreadPoolExecutor(1) as threads:
        stopped = threads.submit(server.stop, 60)
        assert first + streamed(short)
        stopped.result()
    with pytest.raises(openai.APIConnectionError):
        client.models.list()


def test_where_they_last_too_long_they_are_given_up_and_told_so(sampler, monkeypatch):
    decode = sampler.engine.decode

    def slowly(*arguments):
        time.sleep(0.1)
        return decode(*arguments)

    monkeypatch.setattr(sampler.engine, "decode", slowly)
    server = Server(("127.0.0.1", 0), sampler, "tiny")
    threading.Thread(target=server.serve_forever, daemon=True).start()
    client = openai.OpenAI(base_url=server.url, api_key="none", max_retries=0)
    stream = client.chat.completions.create(
        model="tiny", messages=asked(1), temperature=0, stream=True
    )
    next(stream)
    server.stop(0)
    with pytest.raises(openai.APIError, match="the server is stopping"):
        streamed(stream)
    wait_until_free(sampler)


def test_an_endpoint_generator_gets_what_the_sampler_gives(server, sampler):
    conversations = [conversation(words) for words in (1, 9, 4, 6, 2)]
    settings = SamplingSettings(30, stop=("e",))
    endpoint = Endpoint(server.url, "tiny", concurrency=3)
    there = endpoint.generate(conversations, settings)
    here = sampler.generate(conversations, settings)
    assert [(one.text, one.finish_reason) for one in there] == [
        (one.text, one.finish_reason) for one in here
    ]
    assert endpoint.completion_tokens == sum(len(one.tokens) for one in here)


@pytest.mark.parametrize("stream", [False, True])
def test_log_probabilities_are_those_of_the_sampler(client, sampler, stream):
    answer = client.chat.completions.create(
        model="tiny",
        messages=asked(3),
        temperature=0,
        max_tokens=5,
        logprobs=True,
        stream=stream,
    )
    [choice] = [*answer][-1].choices if stream else answer.choices
    [expected] = sampler.generate([conversation(3)], SamplingSettings(5, log_probabilities=True))
    found = [one.logprob for one in choice.logprobs.content]
    assert found == pytest.approx(expected.log_probabilities, abs=1e-5)


def test_an_endpoint_generator_gets_log_probabilities(server, sampler):
    settings = SamplingSettings(5, log_probabilities=True)
    [there] = Endpoint(server.url, "tiny").generate([conversation(3)], settings)
    [here] = sampler.generate([conversation(3)], settings)
    assert there.log_probabilities == pytest.approx(here.log_probabilities, abs=1e-5)


@pytest.mark.parametrize(
    ("clients", "seconds"),
    [(16, 5), pytest.param(64, 120, marks=[pytest.mark.soak, pytest.mark.timeout(0)])],
)
def test_of_many_clients_none_is_lost_and_none_mixed_up(server, sampler, clients, seconds):
    """Some want the whole answer, some a stream, and some go away in the middle of one."""
    settings = [SamplingSettings(12), SamplingSettings(30, 0.8, 0.9, seed=7), SamplingSettings(64)]
    pool = []
    for number, setting in itertools.product(range(16), settings):
        content = f"{number} asks for {number * number}"
        [expected] = sampler.generate([Conversation("", (Message("user", content),))], setting)
        pool.append((content, setting, expected))
    # Otherwise a mix-up might go unseen.
    assert len({expected.text for _, _, expected in pool}) > len(pool) / 2
    client = openai.OpenAI(base_url=server.url, api_key="none", max_retries=0, timeout=300)
    end = time.monotonic() + seconds

    def ask(number: int) -> tuple[int, int]:
        draw, whole, cut = random.Random(number), 0, 0
        while time.monotonic() < end:
            content, setting, expected = draw.choice(pool)
            fields = {
                "model": "tiny",
                "messages": [{"role": "user", "content": content}],
                "temperature": setting.temperature,
                "top_p": setting.top_p,
                "seed": setting.seed,
                "max_tokens": setting.max_new_tokens,
            }
            match draw.randrange(4):
                case 0 | 1:
                    answer = client.chat.completions.create(**fields)
                    assert answer.choices[0].message.content == expected.text
                    assert answer.usage.completion_tokens == len(expected.tokens)
                    whole += 1
                case 2:
                    stream = client.chat.completions.create(**fields, stream=True)
                    assert streamed(stream) == expected.text
                    whole += 1
                case 3:
                    stream = client.chat.completions.create(**fields, stream=True)
                    begun = streamed(itertools.islice(stream, draw.randrange(1, 4)))
                    stream.close()
                    assert expected.text.startswith(begun)
                    cut += 1
        return whole, cut

    with ThreadPoolExecutor(clients) as threads:
        counts = [*threads.map(ask, range(clients))]
    # Nobody has starved.
    assert all(whole + cut > 0 for whole, cut in counts)
    assert sum(cut for _, cut in counts) > 0
    wait_until_free(sampler)


def test_the_program_serves_until_it_is_told_to_stop(
    start, parameters, tiny_tokenizer_file, tmp_path
):
    save_model(
        tmp_path / "model", parameters, ModelDescription(LONG, tiny_tokenizer_file, "llama-2")
    )
    child = start(
        "launch.serve",
        *(f"--checkpoint={tmp_path / 'model'}", "--port=0", "--slots=2", "--context=100"),
    )
    line = child.stdout.readline()
    assert line.startswith("serving model at http://127.0.0.1:"), child.communicate()
    client = openai.OpenAI(base_url=line.split()[-1], api_key="none", max_retries=0)
    assert [one.id for one in client.models.list()] == ["model"]
    stream = client.chat.completions.create(
        model="model", messages=asked(1), stream=True, max_tokens=30, temperature=0
    )
    first = next(stream).choices[0].delta.content
    child.send_signal(signal.SIGTERM)
    assert first + streamed(stream)
    out, error = child.communicate(timeout=60)
    assert (child.returncode, out) == (0, "")
    assert error.splitlines() == [
        "compiling all programs",
        "stopping; answers under way are finished first",
    ]


def test_a_port_that_is_taken_is_told_in_one_line(
    server, start, parameters, tiny_tokenizer_file, tmp_path
):
    save_model(
        tmp_path / "model", parameters, ModelDescription(LONG, tiny_tokenizer_file, "llama-2")
    )
    child = start(
        "launch.serve", f"--checkpoint={tmp_path / 'model'}", f"--port={server.server_port}"
    )
    _, error = child.communicate(timeout=120)
    assert child.returncode == 1
    assert error.startswith(f"error: --host=127.0.0.1 --port={server.server_port}: ")
    assert error.count("\n") == 1
