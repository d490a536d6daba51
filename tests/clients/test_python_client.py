"""Both Python clients against the real server, and the examples of their README."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import loralloy_client
from loralloy_client import Loralloy, errors
from tests.engine.test_readme import DEMOS
from tests.support.archives import tar_gz_of, zip_of
from tests.support.both_clients import KINDS, client_of
from tests.support.broken_adapters import GoodAdapter

SOURCE = Path(loralloy_client.__file__).parent
README = SOURCE.parents[1] / "README.md"
EXAMPLES = re.findall(r"^```python\n(.*?)^```$", README.read_text("utf-8"), re.M | re.S)
TWO = {"r8-a": 0.75, "r16": 0.25}
FOLLOW = {"scope": "token", "stride": 2}
ASK = {"max_tokens": 6, "temperature": 0.0, "ignore_eos": True}

PRINTED = {
    "wait_until_ready": ["\nauto {", "{'r8-c': 0.7, 'r8-d': 0.3}", "\nmixed by auto\n"],
    "client.trace": ["from token 0 {", "}\n"],
    "adapters.push": ["100%", " sums 8 True", "'auto'", "refused: ", "404 adapter_not_found "],
    "jobs.import_adapter": ["refused: source_not_allowed"],
    "asyncio.gather": ["[{'r8-a': 1.0}, {'r8-c': 1.0}]"],
    "Retries(": ["no request was sent"],
}
"""A text that marks an example → what its output must hold."""


def translated(text: str, server) -> str:
    """An example for the tests' server, which has other adapters."""
    names = "|".join(DEMOS)
    exchanged = re.sub(rf'(?<=["/])({names})(?=")', lambda found: DEMOS[found[0]], text)
    return exchanged.replace("http://127.0.0.1:8000", server.url)


@pytest.fixture(params=KINDS)
def client(request, server):
    with client_of(request.param, server.url, timeout=120) as client:
        yield client
    assert server.alive()


@pytest.fixture
def fresh(server):
    """A name that is free, and is free again afterwards."""
    yield "fresh"
    with server.client() as http:
        http.delete("/v1/adapters/fresh")


@pytest.fixture
def good(server, tmp_path) -> Path:
    """Folder of an adapter that is like r8-a, with another scaling."""
    read = GoodAdapter.read(server.adapters["r8-a"])
    folder = tmp_path / "good"
    folder.mkdir()
    for name, content in GoodAdapter({**read.config, "lora_alpha": 11}, read.tensors).members():
        (folder / name).write_bytes(content)
    return folder


@pytest.mark.parametrize("model", ["auto", "r8-a", "tiny-llama", None])
def test_chat_works_with_every_kind_of_model(client, model):
    answer = client.chat("Write a function that adds two numbers.", model=model, **ASK)
    assert answer.usage.completion_tokens == 6
    assert len(answer.request_id) == 32
    assert answer.choices[0].message.content == answer.text
    if model == "r8-a":
        assert (answer.mixture.adapters, answer.mixture.policy) == ({"r8-a": 1.0}, None)
    elif model == "tiny-llama":
        assert (answer.mixture.adapters, answer.mixture.base_share) == ({}, 1.0)
    else:
        assert answer.mixture.policy == "auto"
        assert set(answer.mixture.adapters) <= set(answer.mixture.scores)


def test_a_given_mixture_is_applied_and_can_be_given_again(client):
    first = client.complete("one two three", mixture=TWO, **ASK)
    assert first.mixture.adapters == TWO
    assert first.mixture.combination == "cat"
    again = client.complete("one two three", mixture=first.mixture, **ASK)
    plain = client.complete("one two three", model="tiny-llama", **ASK)
    assert again.text == first.text != plain.text


def test_policies_are_asked_and_changed_for_one_request(client):
    text = "computer programs and cooking recipes"
    options = {"top_k": 1}
    answer = client.complete(text, policy="nearest", **ASK)
    assert answer.mixture.policy == "nearest"
    one = client.complete(text, policy="auto", routing=options, **ASK).mixture
    assert len(one.adapters) == 1
    routed = client.route(text, policy="auto", routing=options)
    assert routed.mixture.adapters == one.adapters
    assert [member.name for member in routed.members] == list(one.adapters)
    assert routed.text_window == text
    assert routed.total_ms >= routed.weigh_ms
    spoken = client.route([{"role": "user", "content": text}], policy="nearest")
    assert spoken.policy == "nearest"


def test_each_prompt_tells_its_own_mixture(client):
    prompts = ["write a computer program", "a recipe for the kitchen"]
    answer = client.complete(prompts, model="nearest", **ASK)
    assert [list(one.adapters) for one in answer.mixtures] == [["r8-b"], ["r16"]]


@pytest.mark.parametrize("call", ["chat", "complete"])
def test_a_stream_says_what_the_whole_answer_says(client, call):
    ask = getattr(client, call)
    whole = ask("one two three", model="auto", **ASK)
    with ask(
        "one two three",
        model="auto",
        stream=True,
        stream_options={"include_usage": True},
        request_id="named-by-us",
        **ASK,
    ) as stream:
        chunks = list(stream)
    assert stream.request_id == "named-by-us"
    assert {chunk.request_id for chunk in chunks} == {"named-by-us"}
    assert "".join(chunk.text for chunk in chunks) == whole.text
    assert {chunk.mixture.policy for chunk in chunks} == {"auto"}
    assert all(chunk.mixture.adapters == whole.mixture.adapters for chunk in chunks)
    assert chunks[-1].usage.completion_tokens == 6
    assert len(chunks) > 2


def test_a_stream_can_be_left_early(client):
    with client.complete("x", model="r8-a", stream=True, max_tokens=300) as stream:
        assert next(stream).mixture.adapters == {"r8-a": 1.0}
    assert list(stream) == []
    assert client.complete("x", model="r8-a", **ASK).text


def test_weights_that_follow_the_answer_are_told_and_traced(client):
    answer = client.complete("one two three", policy="auto", routing=FOLLOW, **ASK)
    assert (answer.mixture.scope, answer.mixture.stride) == ("token", 2)
    assert [step.token for step in answer.trace.choices[0].steps] == [0, 2, 4]
    trace = client.trace(answer.request_id)
    assert trace.choices == answer.trace.choices
    expanded = client.trace(answer.request_id, expand=True)
    assert len(expanded.choices[0].per_token) == 6
    with client.complete(
        "one two three", policy="auto", routing=FOLLOW, stream=True, **ASK
    ) as stream:
        tokens = [chunk.mixture.token for chunk in stream]
    assert tokens == sorted(tokens)
    assert tokens[0] == 0


@pytest.mark.parametrize("form", ["folder", "zip", "tar.gz", "files"])
def test_an_upload_serves_at_once_and_tells_its_progress(client, good, fresh, tmp_path, form):
    members = [(file.name, file.read_bytes()) for file in good.iterdir()]
    archive = tmp_path / f"adapter.{form}"
    archive.write_bytes(tar_gz_of(members) if form == "tar.gz" else zip_of(members))
    pair = {"config": good / "adapter_config.json", "weights": good / "adapter_model.safetensors"}
    source = {"path": good if form == "folder" else archive} if form != "files" else pair
    reported: list[tuple[int, int]] = []
    adapter = client.adapters.push(
        fresh,
        **source,
        description="sailing boats on the sea",
        progress=lambda sent, total: reported.append((sent, total)),
    )
    assert (adapter.id, adapter.rank, adapter.parent) == (fresh, 8, "tiny-llama")
    assert adapter.routing.description == "sailing boats on the sea"
    sizes = [sent for sent, _ in reported]
    assert sizes == sorted(set(sizes))
    assert (sizes[0], sizes[-1]) == (0, reported[0][1])
    assert sizes[-1] > sum(file.stat().st_size for file in source.values() if file.is_file())
    assert client.adapters.get(fresh).digest == adapter.digest
    assert client.models.get(fresh).kind == "adapter"
    assert client.chat("hi", model=fresh, **ASK).mixture.adapters == {fresh: 1.0}
    assert client.route("sailing boats", policy="nearest").mixture.adapters == {fresh: 1.0}
    assert client.adapters.remove(fresh).deleted
    with pytest.raises(errors.AdapterNotFound):
        client.adapters.get(fresh)


def test_examples_and_centroids_reach_the_router(client, good, fresh, tmp_path):
    file = tmp_path / "examples.txt"
    file.write_text("sail a boat\nhoist the sails\n")
    by_file = client.adapters.push(fresh, good, examples=file)
    assert by_file.routing.first_examples == ["sail a boat", "hoist the sails"]
    by_list = client.adapters.push(fresh, good, examples=["steer a ship"])
    assert by_list.routing.first_examples == ["steer a ship"]
    encoder = by_list.routing.encoder
    vectors = [[1.0] + [0.0] * 383, [0.0] * 383 + [1.0]]
    by_points = client.adapters.push(fresh, good, centroids=vectors, encoder=encoder)
    assert by_points.routing.centroids == 2


def test_the_audit_log_is_read_page_by_page(client, good, fresh):
    client.adapters.push(fresh, good)
    client.adapters.remove(fresh)
    latest = client.audit(limit=1)
    (removed,) = latest.data
    assert (removed.action, removed.target, removed.outcome) == ("adapter.remove", fresh, "done")
    assert (latest.has_more, removed.actor) == (True, "anonymous")
    (added,) = client.audit(limit=1, before=removed.id).data
    assert (added.action, added.detail["digest"]) == ("adapter.add", removed.detail["digest"])


def test_the_server_tells_what_it_holds(client, server):
    assert client.health().status == "ok"
    assert client.ready().adapters == len(client.adapters.list())
    assert client.wait_until_ready(5).status == "ready"
    assert {adapter.id for adapter in client.adapters.list()} >= set(server.adapters)
    policies = {policy.id: policy for policy in client.policies.list()}
    assert policies["auto"] == client.policies.get("auto")
    assert policies["auto"].kind == "softmax"
    assert policies["auto"].temperature > 0
    kinds = {model.id: model.kind for model in client.models.list()}
    assert (kinds["tiny-llama"], kinds["auto"], kinds["r8-a"]) == ("base", "policy", "adapter")


@pytest.mark.parametrize(
    ("ask", "kind", "param"),
    [
        (lambda c: c.chat("x", model="nope"), errors.ModelNotFound, "model"),
        (
            lambda c: c.chat("x", mixture={"r8-a": -1.0}, stream=True),
            errors.InvalidWeight,
            "mixture.adapters.r8-a",
        ),
        (lambda c: c.complete("x", mixture={}), errors.EmptyMixture, "mixture.adapters"),
        (
            lambda c: c.complete("word " * 600),
            errors.ContextLengthExceeded,
            None,
        ),
        (lambda c: c.policies.get("nope"), errors.UnknownPolicy, None),
        (lambda c: c.trace("nope"), errors.TraceNotFound, None),
        (lambda c: c.models.get("nope/../x"), errors.ModelNotFound, "model"),
        (lambda c: c.route("x", routing={"top_k": 0}), errors.InvalidPolicy, None),
        (lambda c: c.adapters.push("Bad Name", __file__), errors.InvalidName, None),
        (lambda c: c.adapters.push("bad", __file__), errors.MalformedFile, None),
    ],
)
def test_refusals_have_their_class(client, ask, kind, param):
    with pytest.raises(kind) as refused:
        ask(client)
    error = refused.value
    assert (error.type, error.code) == ("invalid_request_error", kind.code)
    assert error.request_id
    if param is not None:
        assert error.param == param


def test_a_taken_name_is_a_conflict(client, good):
    with pytest.raises(errors.AdapterExists) as refused:
        client.adapters.push("r8-a", good)
    assert refused.value.status == 409


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_the_examples_work_as_printed(number, server, tmp_path):
    demos = tmp_path / "examples" / "adapters"
    demos.mkdir(parents=True)
    for name in DEMOS.values():
        (demos / name).symlink_to(server.adapters[name])
    text = EXAMPLES[number]
    done = subprocess.run(
        [sys.executable, "-c", translated(text, server)],
        cwd=tmp_path,
        env={"PYTHONPATH": str(SOURCE.parent), "PYTHONUTF8": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    (expected,) = [line for mark, line in PRINTED.items() if mark in text]
    for one in expected:
        assert one in done.stdout


def test_the_client_is_used_from_many_threads(server):
    from concurrent.futures import ThreadPoolExecutor

    names = ["r8-a", "r8-b", "r8-c", "r8-d"] * 3
    with Loralloy(server.url) as client, ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda name: client.chat("hi", model=name, **ASK), names))
    assert [list(answer.mixture.adapters) for answer in answers] == [[name] for name in names]
